using System.Runtime.InteropServices;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>The io_uring interface of <c>linux/io_uring.h</c>: names, numbers and offsets are the kernel's.</summary>
/// <remarks>Tmds.LibC knows the ring of Linux 5.7; one list of it is easier to read than two.</remarks>
internal static unsafe class IoUring
{
    public const byte IORING_OP_NOP = 0;
    public const byte IORING_OP_FSYNC = 3;
    public const byte IORING_OP_READ_FIXED = 4;
    public const byte IORING_OP_WRITE_FIXED = 5;
    public const byte IORING_OP_POLL_ADD = 6;
    public const byte IORING_OP_SENDMSG = 9;
    public const byte IORING_OP_RECVMSG = 10;
    public const byte IORING_OP_ACCEPT = 13;
    public const byte IORING_OP_ASYNC_CANCEL = 14;
    public const byte IORING_OP_FALLOCATE = 17;
    public const byte IORING_OP_READ = 22;
    public const byte IORING_OP_WRITE = 23;
    public const byte IORING_OP_SEND = 26;
    public const byte IORING_OP_RECV = 27;
    public const byte IORING_OP_URING_CMD = 46;

    public const uint IORING_SETUP_CQSIZE = 1u << 3;
    public const uint IORING_SETUP_CLAMP = 1u << 4;
    public const uint IORING_SETUP_SUBMIT_ALL = 1u << 7;
    public const uint IORING_SETUP_COOP_TASKRUN = 1u << 8;
    public const uint IORING_SETUP_SQE128 = 1u << 10;
    public const uint IORING_SETUP_SINGLE_ISSUER = 1u << 12;
    public const uint IORING_SETUP_DEFER_TASKRUN = 1u << 13;

    public const uint IORING_ENTER_GETEVENTS = 1u << 0;
    public const uint IORING_ENTER_EXT_ARG = 1u << 3;
    public const uint IORING_ENTER_REGISTERED_RING = 1u << 4;

    public const uint IORING_FEAT_SINGLE_MMAP = 1u << 0;
    public const uint IORING_FEAT_NODROP = 1u << 1;
    public const uint IORING_FEAT_EXT_ARG = 1u << 8;

    public const long IORING_OFF_SQ_RING = 0;
    public const long IORING_OFF_SQES = 0x10000000;

    public const uint IORING_FSYNC_DATASYNC = 1;
    public const ushort IORING_RECVSEND_POLL_FIRST = 1;
    public const uint IORING_POLL_ADD_MULTI = 1;
    public const uint IORING_CQE_F_MORE = 1u << 1;
    public const uint IORING_CQE_F_SOCK_NONEMPTY = 1u << 2;
    public const uint IORING_SQ_CQ_OVERFLOW = 1u << 1;
    public const uint IORING_REGISTER_EVENTFD = 4;
    public const uint IORING_REGISTER_BUFFERS2 = 15;
    public const uint IORING_REGISTER_RING_FDS = 20;
    public const uint IORING_RSRC_REGISTER_SPARSE = 1u << 0;
    public const uint IORING_ASYNC_CANCEL_ALL = 1;
    public const uint IORING_ASYNC_CANCEL_FD = 2;

    private const int SYS_io_uring_setup = 425;
    private const int SYS_io_uring_enter = 426;
    private const int SYS_io_uring_register = 427;

    /// <summary>Whether this process may have a ring: makes a small one and closes it.</summary>
    /// <returns>0, or a negative errno</returns>
    public static int Probe()
    {
        var parameters = default(io_uring_params);
        var ring = Setup(4, &parameters);
        return ring < 0 ? ring : Unistd.Close(ring);
    }

    /// <summary>Returns a ring descriptor or a negative errno.</summary>
    public static int Setup(uint entries, io_uring_params* parameters) =>
        Errno.Of((int)syscall(SYS_io_uring_setup, entries, parameters));

    /// <summary>Returns how many entries were consumed, or a negative errno.</summary>
    public static int Enter(int fd, uint toSubmit, uint minComplete, uint flags, io_uring_getevents_arg* argument) =>
        Errno.Of((int)syscall(
            SYS_io_uring_enter, fd, toSubmit, minComplete, flags, argument, argument is null ? 0 : sizeof(io_uring_getevents_arg)));

    public static int Register(int fd, uint opcode, void* argument, uint count) =>
        Errno.Of((int)syscall(SYS_io_uring_register, fd, opcode, argument, count));
}

[StructLayout(LayoutKind.Explicit, Size = 64)]
internal struct io_uring_sqe
{
    [FieldOffset(0)] public byte opcode;
    [FieldOffset(1)] public byte flags;
    [FieldOffset(2)] public ushort ioprio;
    [FieldOffset(4)] public int fd;
    [FieldOffset(8)] public ulong off;

    /// <summary>The command of IORING_OP_URING_CMD; the four bytes after it must be 0.</summary>
    [FieldOffset(8)] public uint cmd_op;

    [FieldOffset(16)] public ulong addr;
    [FieldOffset(24)] public uint len;
    [FieldOffset(28)] public uint rw_flags;
    [FieldOffset(28)] public uint uring_cmd_flags;
    [FieldOffset(32)] public ulong user_data;
    [FieldOffset(40)] public ushort buf_index;
    [FieldOffset(42)] public ushort personality;
    [FieldOffset(44)] public uint file_index;
    [FieldOffset(48)] public ulong addr3;

    /// <summary>The first byte of the payload of IORING_OP_URING_CMD: 16 bytes here, 80 with IORING_SETUP_SQE128.</summary>
    [FieldOffset(48)] public byte cmd;
}

[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct io_uring_cqe
{
    [FieldOffset(0)] public ulong user_data;
    [FieldOffset(8)] public int res;
    [FieldOffset(12)] public uint flags;
}

[StructLayout(LayoutKind.Sequential)]
internal struct io_sqring_offsets
{
    public uint head, tail, ring_mask, ring_entries, flags, dropped, array, resv1;
    public ulong user_addr;
}

[StructLayout(LayoutKind.Sequential)]
internal struct io_cqring_offsets
{
    public uint head, tail, ring_mask, ring_entries, overflow, cqes, flags, resv1;
    public ulong user_addr;
}

[StructLayout(LayoutKind.Explicit, Size = 120)]
internal struct io_uring_params
{
    [FieldOffset(0)] public uint sq_entries;
    [FieldOffset(4)] public uint cq_entries;
    [FieldOffset(8)] public uint flags;
    [FieldOffset(12)] public uint sq_thread_cpu;
    [FieldOffset(16)] public uint sq_thread_idle;
    [FieldOffset(20)] public uint features;
    [FieldOffset(24)] public uint wq_fd;
    [FieldOffset(40)] public io_sqring_offsets sq_off;
    [FieldOffset(80)] public io_cqring_offsets cq_off;
}

[StructLayout(LayoutKind.Sequential)]
internal struct io_uring_getevents_arg
{
    public ulong sigmask;
    public uint sigmask_sz;
    public uint pad;
    public ulong ts;
}

[StructLayout(LayoutKind.Sequential)]
internal struct io_uring_rsrc_register
{
    public uint nr, flags;
    public ulong resv2, data, tags;
}

[StructLayout(LayoutKind.Sequential)]
internal struct io_uring_rsrc_update
{
    public uint offset;
    public uint resv;
    public ulong data;
}

[StructLayout(LayoutKind.Sequential)]
internal struct timespec
{
    public long tv_sec;
    public long tv_nsec;
}
