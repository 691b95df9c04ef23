namespace Qcow2Blk.Interop;

/// <summary>The side of the queues of <c>linux/ublk_cmd.h</c>: commands to <c>/dev/ublkcN</c>, requests, buffers.</summary>
internal static partial class Ublk
{
    // _IOWR('u', nr, struct ublksrv_io_cmd).
    private const uint IoReadWrite = (3u << 30) | (16u << 16) | ((uint)'u' << 8);

    public const uint UBLK_U_IO_FETCH_REQ = IoReadWrite | 0x20;
    public const uint UBLK_U_IO_COMMIT_AND_FETCH_REQ = IoReadWrite | 0x21;
    public const uint UBLK_U_IO_NEED_GET_DATA = IoReadWrite | 0x22;
    public const uint UBLK_U_IO_REGISTER_IO_BUF = IoReadWrite | 0x23;
    public const uint UBLK_U_IO_UNREGISTER_IO_BUF = IoReadWrite | 0x24;

    public const int UBLK_IO_RES_OK = 0;
    public const int UBLK_IO_RES_NEED_GET_DATA = 1;

    /// <summary>The device goes away or was quiesced: do not fetch this tag again.</summary>
    public const int UBLK_IO_RES_ABORT = -Errno.ENODEV;

    /// <summary>Where the descriptors of all queues begin in the mapping of <c>/dev/ublkcN</c>.</summary>
    public const long UBLKSRV_CMD_BUF_OFFSET = 0;

    /// <summary>Where the data of requests begins for pread and pwrite on <c>/dev/ublkcN</c> (USER_COPY).</summary>
    public const long UBLKSRV_IO_BUF_OFFSET = 0x80000000;

    public const int UBLK_IO_BUF_OFF = 0;
    public const int UBLK_IO_BUF_BITS = 25;
    public const int UBLK_TAG_OFF = UBLK_IO_BUF_BITS;
    public const int UBLK_TAG_BITS = 16;
    public const int UBLK_QID_OFF = UBLK_TAG_OFF + UBLK_TAG_BITS;
    public const int UBLK_QID_BITS = 12;

    public const uint UBLK_IO_OP_READ = 0;
    public const uint UBLK_IO_OP_WRITE = 1;
    public const uint UBLK_IO_OP_FLUSH = 2;
    public const uint UBLK_IO_OP_DISCARD = 3;
    public const uint UBLK_IO_OP_WRITE_SAME = 4;
    public const uint UBLK_IO_OP_WRITE_ZEROES = 5;

    /// <summary>The bits of <c>op_flags</c> that hold the operation (<c>ublksrv_get_op</c>).</summary>
    public const uint OperationMask = 0xff;

    public const uint UBLK_IO_F_FAILFAST_DEV = 1u << 8;
    public const uint UBLK_IO_F_FAILFAST_TRANSPORT = 1u << 9;
    public const uint UBLK_IO_F_FAILFAST_DRIVER = 1u << 10;
    public const uint UBLK_IO_F_META = 1u << 11;
    public const uint UBLK_IO_F_FUA = 1u << 13;
    public const uint UBLK_IO_F_NOUNMAP = 1u << 15;
    public const uint UBLK_IO_F_SWAP = 1u << 16;
    public const uint UBLK_IO_F_NEED_REG_BUF = 1u << 17;

    public const byte UBLK_AUTO_BUF_REG_FALLBACK = 1 << 0;

    /// <summary>The position on <c>/dev/ublkcN</c> of a byte of a request's data (USER_COPY).</summary>
    public static long IoBufferOffset(int queue, int tag, long offset) =>
        UBLKSRV_IO_BUF_OFFSET + ((long)queue << UBLK_QID_OFF) + ((long)tag << UBLK_TAG_OFF) + offset;

    /// <summary>The word that <c>sqe.addr</c> carries with AUTO_BUF_REG (<c>ublk_auto_buf_reg_to_sqe_addr</c>).</summary>
    /// <param name="index">slot in the ring's table of buffers</param>
    /// <param name="flags">0 or <see cref="UBLK_AUTO_BUF_REG_FALLBACK"/></param>
    public static ulong AutoBufferWord(ushort index, byte flags) => index | ((ulong)flags << 16);
}
