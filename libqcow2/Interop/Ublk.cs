namespace Qcow2Blk.Interop;

/// <summary>
/// The ublk interface of <c>linux/ublk_cmd.h</c>, control side: names, numbers and offsets are the kernel's. The
/// side of the queues is in <c>Ublk.Io.cs</c>, the structures in <c>UblkStructs.cs</c> and <c>UblkParams.cs</c>.
/// </summary>
/// <remarks>
/// Only the ioctl encoding of commands is here. The plain numbers of Linux 6.0 to 6.3 (<c>UBLK_CMD_*</c>) are a
/// build option of newer kernels, and newer commands never had one.
/// </remarks>
internal static partial class Ublk
{
    // _IOR('u', nr, struct ublksrv_ctrl_cmd) and _IOWR of the same: direction, size, type, number.
    private const uint ControlRead = (2u << 30) | (32u << 16) | ((uint)'u' << 8);
    private const uint ControlReadWrite = (3u << 30) | (32u << 16) | ((uint)'u' << 8);

    public const uint UBLK_U_CMD_GET_QUEUE_AFFINITY = ControlRead | 0x01;
    public const uint UBLK_U_CMD_GET_DEV_INFO = ControlRead | 0x02;
    public const uint UBLK_U_CMD_ADD_DEV = ControlReadWrite | 0x04;
    public const uint UBLK_U_CMD_DEL_DEV = ControlReadWrite | 0x05;
    public const uint UBLK_U_CMD_START_DEV = ControlReadWrite | 0x06;
    public const uint UBLK_U_CMD_STOP_DEV = ControlReadWrite | 0x07;
    public const uint UBLK_U_CMD_SET_PARAMS = ControlReadWrite | 0x08;
    public const uint UBLK_U_CMD_GET_PARAMS = ControlRead | 0x09;
    public const uint UBLK_U_CMD_START_USER_RECOVERY = ControlReadWrite | 0x10;
    public const uint UBLK_U_CMD_END_USER_RECOVERY = ControlReadWrite | 0x11;
    public const uint UBLK_U_CMD_GET_DEV_INFO2 = ControlRead | 0x12;
    public const uint UBLK_U_CMD_GET_FEATURES = ControlRead | 0x13;
    public const uint UBLK_U_CMD_DEL_DEV_ASYNC = ControlRead | 0x14;
    public const uint UBLK_U_CMD_UPDATE_SIZE = ControlReadWrite | 0x15;
    public const uint UBLK_U_CMD_QUIESCE_DEV = ControlReadWrite | 0x16;
    public const uint UBLK_U_CMD_TRY_STOP_DEV = ControlReadWrite | 0x17;

    /// <summary>Bytes that GET_FEATURES writes.</summary>
    public const ushort UBLK_FEATURES_LEN = 8;

    public const ulong UBLK_F_SUPPORT_ZERO_COPY = 1ul << 0;
    public const ulong UBLK_F_URING_CMD_COMP_IN_TASK = 1ul << 1;
    public const ulong UBLK_F_NEED_GET_DATA = 1ul << 2;
    public const ulong UBLK_F_USER_RECOVERY = 1ul << 3;
    public const ulong UBLK_F_USER_RECOVERY_REISSUE = 1ul << 4;
    public const ulong UBLK_F_UNPRIVILEGED_DEV = 1ul << 5;
    public const ulong UBLK_F_CMD_IOCTL_ENCODE = 1ul << 6;
    public const ulong UBLK_F_USER_COPY = 1ul << 7;
    public const ulong UBLK_F_ZONED = 1ul << 8;
    public const ulong UBLK_F_USER_RECOVERY_FAIL_IO = 1ul << 9;
    public const ulong UBLK_F_UPDATE_SIZE = 1ul << 10;
    public const ulong UBLK_F_AUTO_BUF_REG = 1ul << 11;
    public const ulong UBLK_F_QUIESCE = 1ul << 12;
    public const ulong UBLK_F_PER_IO_DAEMON = 1ul << 13;
    public const ulong UBLK_F_BUF_REG_OFF_DAEMON = 1ul << 14;
    public const ulong UBLK_F_BATCH_IO = 1ul << 15;
    public const ulong UBLK_F_INTEGRITY = 1ul << 16;
    public const ulong UBLK_F_SAFE_STOP_DEV = 1ul << 17;
    public const ulong UBLK_F_NO_AUTO_PART_SCAN = 1ul << 18;
    public const ulong UBLK_F_SHMEM_ZC = 1ul << 19;
    public const ulong UBLK_F_IO_DESC_SIZE = 1ul << 20;

    public const ushort UBLK_S_DEV_DEAD = 0;
    public const ushort UBLK_S_DEV_LIVE = 1;
    public const ushort UBLK_S_DEV_QUIESCED = 2;
    public const ushort UBLK_S_DEV_FAIL_IO = 3;

    public const uint UBLK_ATTR_READ_ONLY = 1u << 0;
    public const uint UBLK_ATTR_ROTATIONAL = 1u << 1;
    public const uint UBLK_ATTR_VOLATILE_CACHE = 1u << 2;
    public const uint UBLK_ATTR_FUA = 1u << 3;

    public const uint UBLK_PARAM_TYPE_BASIC = 1u << 0;
    public const uint UBLK_PARAM_TYPE_DISCARD = 1u << 1;
    public const uint UBLK_PARAM_TYPE_DEVT = 1u << 2;
    public const uint UBLK_PARAM_TYPE_ZONED = 1u << 3;
    public const uint UBLK_PARAM_TYPE_DMA_ALIGN = 1u << 4;
    public const uint UBLK_PARAM_TYPE_SEGMENT = 1u << 5;
    public const uint UBLK_PARAM_TYPE_INTEGRITY = 1u << 6;

    public const uint UBLK_MAX_QUEUE_DEPTH = 4096;
    public const uint UBLK_MAX_NR_QUEUES = 1u << UBLK_QID_BITS;

    /// <summary>"-1" of a device id: the kernel chooses.</summary>
    public const uint AnyDevice = uint.MaxValue;

    /// <summary>"-1" of a queue id: the command is not for a queue.</summary>
    public const ushort NoQueue = ushort.MaxValue;
}
