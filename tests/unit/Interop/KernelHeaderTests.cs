using System;
using System.IO;
using System.Runtime.CompilerServices;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Interop;
using Qcow2Blk.Protocol;
using Xunit;
using static Qcow2Blk.Tests.Support.CHeaders;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Numbers and layouts of the data path's P/Invokes, compared by a C compiler with the system's headers.</summary>
public sealed class KernelHeaderTests
{
    [Fact]
    public void Ring_numbers_are_the_kernels() => AssertInC(["linux/io_uring.h"],
        ("IORING_OP_NOP", IoUring.IORING_OP_NOP), ("IORING_OP_FSYNC", IoUring.IORING_OP_FSYNC),
        ("IORING_OP_POLL_ADD", IoUring.IORING_OP_POLL_ADD),
        ("IORING_OP_SENDMSG", IoUring.IORING_OP_SENDMSG), ("IORING_OP_RECVMSG", IoUring.IORING_OP_RECVMSG),
        ("IORING_OP_ACCEPT", IoUring.IORING_OP_ACCEPT),
        ("IORING_OP_ASYNC_CANCEL", IoUring.IORING_OP_ASYNC_CANCEL), ("IORING_OP_FALLOCATE", IoUring.IORING_OP_FALLOCATE),
        ("IORING_OP_READ", IoUring.IORING_OP_READ), ("IORING_OP_WRITE", IoUring.IORING_OP_WRITE),
        ("IORING_OP_SEND", IoUring.IORING_OP_SEND),
        ("IORING_OP_RECV", IoUring.IORING_OP_RECV),
        ("IORING_SETUP_CQSIZE", IoUring.IORING_SETUP_CQSIZE), ("IORING_SETUP_CLAMP", IoUring.IORING_SETUP_CLAMP),
        ("IORING_SETUP_SUBMIT_ALL", IoUring.IORING_SETUP_SUBMIT_ALL), ("IORING_SETUP_COOP_TASKRUN", IoUring.IORING_SETUP_COOP_TASKRUN),
        ("IORING_SETUP_SINGLE_ISSUER", IoUring.IORING_SETUP_SINGLE_ISSUER),
        ("IORING_SETUP_DEFER_TASKRUN", IoUring.IORING_SETUP_DEFER_TASKRUN),
        ("IORING_ENTER_GETEVENTS", IoUring.IORING_ENTER_GETEVENTS), ("IORING_ENTER_EXT_ARG", IoUring.IORING_ENTER_EXT_ARG),
        ("IORING_ENTER_REGISTERED_RING", IoUring.IORING_ENTER_REGISTERED_RING),
        ("IORING_FEAT_SINGLE_MMAP", IoUring.IORING_FEAT_SINGLE_MMAP), ("IORING_FEAT_NODROP", IoUring.IORING_FEAT_NODROP),
        ("IORING_FEAT_EXT_ARG", IoUring.IORING_FEAT_EXT_ARG),
        ("IORING_OFF_SQ_RING", IoUring.IORING_OFF_SQ_RING), ("IORING_OFF_SQES", IoUring.IORING_OFF_SQES),
        ("IORING_FSYNC_DATASYNC", IoUring.IORING_FSYNC_DATASYNC), ("IORING_RECVSEND_POLL_FIRST", IoUring.IORING_RECVSEND_POLL_FIRST),
        ("IORING_POLL_ADD_MULTI", IoUring.IORING_POLL_ADD_MULTI), ("IORING_CQE_F_MORE", IoUring.IORING_CQE_F_MORE),
        ("IORING_CQE_F_SOCK_NONEMPTY", IoUring.IORING_CQE_F_SOCK_NONEMPTY), ("IORING_SQ_CQ_OVERFLOW", IoUring.IORING_SQ_CQ_OVERFLOW),
        ("IORING_REGISTER_RING_FDS", IoUring.IORING_REGISTER_RING_FDS), ("IORING_ASYNC_CANCEL_ALL", IoUring.IORING_ASYNC_CANCEL_ALL),
        ("IORING_ASYNC_CANCEL_FD", IoUring.IORING_ASYNC_CANCEL_FD),
        ("IORING_OP_READ_FIXED", IoUring.IORING_OP_READ_FIXED), ("IORING_OP_WRITE_FIXED", IoUring.IORING_OP_WRITE_FIXED),
        ("IORING_OP_URING_CMD", IoUring.IORING_OP_URING_CMD), ("IORING_SETUP_SQE128", IoUring.IORING_SETUP_SQE128),
        ("IORING_REGISTER_BUFFERS2", IoUring.IORING_REGISTER_BUFFERS2), ("IORING_REGISTER_EVENTFD", IoUring.IORING_REGISTER_EVENTFD),
        ("IORING_RSRC_REGISTER_SPARSE", IoUring.IORING_RSRC_REGISTER_SPARSE));

    [Fact]
    public void Ring_structures_are_the_kernels()
    {
        AssertInC(["linux/io_uring.h", "linux/time_types.h"],
            ("sizeof(struct io_uring_sqe)", Unsafe.SizeOf<io_uring_sqe>()),
            ("sizeof(struct io_uring_cqe)", Unsafe.SizeOf<io_uring_cqe>()),
            ("sizeof(struct io_sqring_offsets)", Unsafe.SizeOf<io_sqring_offsets>()),
            ("sizeof(struct io_cqring_offsets)", Unsafe.SizeOf<io_cqring_offsets>()),
            ("sizeof(struct io_uring_params)", Unsafe.SizeOf<io_uring_params>()),
            ("sizeof(struct io_uring_getevents_arg)", Unsafe.SizeOf<io_uring_getevents_arg>()),
            ("sizeof(struct io_uring_rsrc_update)", Unsafe.SizeOf<io_uring_rsrc_update>()),
            ("sizeof(struct __kernel_timespec)", Unsafe.SizeOf<timespec>()));
        AssertOffsets<io_uring_sqe>(["linux/io_uring.h"], "struct io_uring_sqe",
            "opcode", "flags", "ioprio", "fd", "off", "addr", "len", "rw_flags", "user_data", "buf_index", "personality", "file_index",
            "addr3", "cmd_op", "cmd");
        AssertOffsets<io_uring_cqe>(["linux/io_uring.h"], "struct io_uring_cqe", "user_data", "res", "flags");
        AssertOffsets<io_sqring_offsets>(["linux/io_uring.h"], "struct io_sqring_offsets",
            "head", "tail", "ring_mask", "ring_entries", "flags", "dropped", "array");
        AssertOffsets<io_cqring_offsets>(["linux/io_uring.h"], "struct io_cqring_offsets",
            "head", "tail", "ring_mask", "ring_entries", "overflow", "cqes", "flags");
        AssertOffsets<io_uring_params>(["linux/io_uring.h"], "struct io_uring_params",
            "sq_entries", "cq_entries", "flags", "sq_thread_cpu", "sq_thread_idle", "features", "wq_fd", "sq_off", "cq_off");
        AssertOffsets<io_uring_getevents_arg>(["linux/io_uring.h"], "struct io_uring_getevents_arg", "sigmask", "sigmask_sz", "pad", "ts");
        AssertInC(["linux/io_uring.h"],
            Layout<io_uring_rsrc_register>("struct io_uring_rsrc_register", "nr", "flags", "resv2", "data", "tags"));
        AssertOffsets<io_uring_rsrc_update>(["linux/io_uring.h"], "struct io_uring_rsrc_update", "offset", "resv", "data");
        AssertOffsets<timespec>(["linux/time_types.h"], "struct __kernel_timespec", "tv_sec", "tv_nsec");
    }

    [Fact]
    public void File_numbers_are_the_systems() => AssertInC(["fcntl.h", "unistd.h", "linux/magic.h", "linux/fs.h"],
        ("FALLOC_FL_ZERO_RANGE", Files.FALLOC_FL_ZERO_RANGE), ("SEEK_DATA", Files.SEEK_DATA), ("SEEK_HOLE", Files.SEEK_HOLE),
        ("TMPFS_MAGIC", Files.TMPFS_MAGIC), ("EXT4_SUPER_MAGIC", Files.EXT4_SUPER_MAGIC), ("XFS_SUPER_MAGIC", Files.XFS_SUPER_MAGIC),
        ("BTRFS_SUPER_MAGIC", Files.BTRFS_SUPER_MAGIC), ("F2FS_SUPER_MAGIC", Files.F2FS_SUPER_MAGIC), ("BLKSSZGET", Files.BLKSSZGET));

    [Fact]
    public void Statx_alignment_is_the_kernels()
    {
        string[] headers = ["linux/stat.h"];
        Assert.SkipWhen(Compile(headers, "#ifndef STATX_DIOALIGN\n#error older\n#endif").Length > 0, "headers older than Linux 6.1");
        AssertInC(headers, ("STATX_DIOALIGN", Stat.STATX_DIOALIGN), ("sizeof(struct statx)", Unsafe.SizeOf<statx_aligned>()));
        AssertOffsets<statx_aligned>(headers, "struct statx", "stx_dio_mem_align", "stx_dio_offset_align");
    }

    [Fact]
    public void Statfs_fits_and_begins_with_its_type() => AssertInC(["sys/vfs.h"],
        ("offsetof(struct statfs, f_type)", Offset<statfs_buffer>("f_type")),
        ("sizeof(((struct statfs *)0)->f_type)", sizeof(long)),
        ("offsetof(struct statfs, f_bsize)", Offset<statfs_buffer>("f_bsize")),
        ("offsetof(struct statfs, f_blocks)", Offset<statfs_buffer>("f_blocks")),
        ("offsetof(struct statfs, f_bfree)", Offset<statfs_buffer>("f_bfree")),
        ("offsetof(struct statfs, f_bavail)", Offset<statfs_buffer>("f_bavail")),
        ("sizeof(((struct statfs *)0)->f_bavail)", sizeof(ulong)),
        ($"sizeof(struct statfs) <= {Unsafe.SizeOf<statfs_buffer>()}", 1));

    [Fact]
    public void Netlink_numbers_and_structures_are_the_kernels()
    {
        string[] headers = ["sys/socket.h", "linux/netlink.h", "linux/genetlink.h"];
        AssertInC(headers,
            ("NETLINK_GENERIC", Netlink.NETLINK_GENERIC),
            ("NETLINK_ADD_MEMBERSHIP", Netlink.NETLINK_ADD_MEMBERSHIP), ("NETLINK_CAP_ACK", Netlink.NETLINK_CAP_ACK),
            ("NETLINK_EXT_ACK", Netlink.NETLINK_EXT_ACK),
            ("NLM_F_REQUEST", Netlink.NLM_F_REQUEST), ("NLM_F_ACK", Netlink.NLM_F_ACK),
            ("NLM_F_CAPPED", Netlink.NLM_F_CAPPED), ("NLM_F_ACK_TLVS", Netlink.NLM_F_ACK_TLVS),
            ("NLMSG_ERROR", Netlink.NLMSG_ERROR), ("NLMSGERR_ATTR_MSG", Netlink.NLMSGERR_ATTR_MSG),
            ("NLA_F_NESTED", Netlink.NLA_F_NESTED), ("NLA_TYPE_MASK & 0xffff", Netlink.NLA_TYPE_MASK),
            ("GENL_ID_CTRL", Netlink.GENL_ID_CTRL), ("CTRL_CMD_NEWFAMILY", Netlink.CTRL_CMD_NEWFAMILY),
            ("CTRL_CMD_GETFAMILY", Netlink.CTRL_CMD_GETFAMILY),
            ("CTRL_ATTR_FAMILY_ID", Netlink.CTRL_ATTR_FAMILY_ID), ("CTRL_ATTR_FAMILY_NAME", Netlink.CTRL_ATTR_FAMILY_NAME),
            ("CTRL_ATTR_MCAST_GROUPS", Netlink.CTRL_ATTR_MCAST_GROUPS), ("CTRL_ATTR_MCAST_GRP_NAME", Netlink.CTRL_ATTR_MCAST_GRP_NAME),
            ("CTRL_ATTR_MCAST_GRP_ID", Netlink.CTRL_ATTR_MCAST_GRP_ID),
            ("sizeof(struct nlmsghdr)", Unsafe.SizeOf<Netlink.nlmsghdr>()),
            ("sizeof(struct genlmsghdr)", Unsafe.SizeOf<Netlink.genlmsghdr>()),
            ("sizeof(struct nlattr)", Unsafe.SizeOf<Netlink.nlattr>()),
            ("sizeof(struct sockaddr_nl)", Unsafe.SizeOf<Netlink.sockaddr_nl>()));
        AssertOffsets<Netlink.nlmsghdr>(headers, "struct nlmsghdr", "nlmsg_len", "nlmsg_type", "nlmsg_flags", "nlmsg_seq", "nlmsg_pid");
        AssertOffsets<Netlink.genlmsghdr>(headers, "struct genlmsghdr", "cmd", "version", "reserved");
        AssertOffsets<Netlink.nlattr>(headers, "struct nlattr", "nla_len", "nla_type");
        AssertOffsets<Netlink.sockaddr_nl>(headers, "struct sockaddr_nl", "nl_family", "nl_pid", "nl_groups");
    }

    [Fact]
    public void Nbd_device_numbers_are_the_kernels() => AssertInC(["linux/types.h", "linux/ioctl.h", "linux/nbd.h", "linux/nbd-netlink.h"],
        ("sizeof(NBD_GENL_FAMILY_NAME)", NbdDevice.NBD_GENL_FAMILY_NAME.Length + 1),
        ("sizeof(NBD_GENL_MCAST_GROUP_NAME)", NbdDevice.NBD_GENL_MCAST_GROUP_NAME.Length + 1),
        ("NBD_GENL_VERSION", NbdDevice.NBD_GENL_VERSION),
        ("NBD_CMD_CONNECT", NbdDevice.NBD_CMD_CONNECT), ("NBD_CMD_DISCONNECT", NbdDevice.NBD_CMD_DISCONNECT),
        ("NBD_CMD_RECONFIGURE", NbdDevice.NBD_CMD_RECONFIGURE), ("NBD_CMD_LINK_DEAD", NbdDevice.NBD_CMD_LINK_DEAD),
        ("NBD_CMD_STATUS", NbdDevice.NBD_CMD_STATUS),
        ("NBD_ATTR_INDEX", NbdDevice.NBD_ATTR_INDEX), ("NBD_ATTR_SIZE_BYTES", NbdDevice.NBD_ATTR_SIZE_BYTES),
        ("NBD_ATTR_BLOCK_SIZE_BYTES", NbdDevice.NBD_ATTR_BLOCK_SIZE_BYTES), ("NBD_ATTR_TIMEOUT", NbdDevice.NBD_ATTR_TIMEOUT),
        ("NBD_ATTR_SERVER_FLAGS", NbdDevice.NBD_ATTR_SERVER_FLAGS), ("NBD_ATTR_SOCKETS", NbdDevice.NBD_ATTR_SOCKETS),
        ("NBD_ATTR_DEAD_CONN_TIMEOUT", NbdDevice.NBD_ATTR_DEAD_CONN_TIMEOUT), ("NBD_ATTR_DEVICE_LIST", NbdDevice.NBD_ATTR_DEVICE_LIST),
        ("NBD_ATTR_BACKEND_IDENTIFIER", NbdDevice.NBD_ATTR_BACKEND_IDENTIFIER),
        ("NBD_SOCK_ITEM", NbdDevice.NBD_SOCK_ITEM), ("NBD_SOCK_FD", NbdDevice.NBD_SOCK_FD), ("NBD_DEVICE_ITEM", NbdDevice.NBD_DEVICE_ITEM),
        ("NBD_DEVICE_INDEX", NbdDevice.NBD_DEVICE_INDEX), ("NBD_DEVICE_CONNECTED", NbdDevice.NBD_DEVICE_CONNECTED),
        ("NBD_SET_SOCK", NbdDevice.NBD_SET_SOCK), ("NBD_SET_BLKSIZE", NbdDevice.NBD_SET_BLKSIZE), ("NBD_DO_IT", NbdDevice.NBD_DO_IT),
        ("NBD_CLEAR_SOCK", NbdDevice.NBD_CLEAR_SOCK), ("NBD_SET_SIZE_BLOCKS", NbdDevice.NBD_SET_SIZE_BLOCKS),
        ("NBD_DISCONNECT", NbdDevice.NBD_DISCONNECT),
        ("NBD_SET_TIMEOUT", NbdDevice.NBD_SET_TIMEOUT), ("NBD_SET_FLAGS", NbdDevice.NBD_SET_FLAGS),
        ("NBD_FLAG_HAS_FLAGS", (long)TransmissionFlags.HasFlags), ("NBD_FLAG_READ_ONLY", (long)TransmissionFlags.ReadOnly),
        ("NBD_FLAG_SEND_FLUSH", (long)TransmissionFlags.SendFlush), ("NBD_FLAG_SEND_FUA", (long)TransmissionFlags.SendFua),
        ("NBD_FLAG_SEND_TRIM", (long)TransmissionFlags.SendTrim), ("NBD_FLAG_CAN_MULTI_CONN", (long)TransmissionFlags.CanMultiConnection));

    [Fact]
    public void Zlib_is_as_its_header_says()
    {
        AssertInC(["zlib.h"], ("Z_OK", Inflate.Z_OK), ("Z_STREAM_END", Inflate.Z_STREAM_END), ("Z_BUF_ERROR", Inflate.Z_BUF_ERROR),
            ("Z_FINISH", Inflate.Z_FINISH), ("sizeof(z_stream)", Unsafe.SizeOf<z_stream>()));
        AssertOffsets<z_stream>(["zlib.h"], "z_stream", "next_in", "avail_in", "total_in", "next_out", "avail_out", "total_out", "msg",
            "state", "zalloc", "zfree", "opaque", "data_type", "adler", "reserved");
    }

    [Fact]
    public void Zstd_is_as_its_header_says()
    {
        AssertInC(["zstd.h"], ("sizeof(ZSTD_inBuffer)", Unsafe.SizeOf<ZSTD_inBuffer>()),
            ("sizeof(ZSTD_outBuffer)", Unsafe.SizeOf<ZSTD_outBuffer>()));
        AssertOffsets<ZSTD_inBuffer>(["zstd.h"], "ZSTD_inBuffer", "src", "size", "pos");
        AssertOffsets<ZSTD_outBuffer>(["zstd.h"], "ZSTD_outBuffer", "dst", "size", "pos");
    }

    [Fact]
    public void Libdeflate_is_as_its_header_says() => AssertInC(["libdeflate.h"],
        ("LIBDEFLATE_SUCCESS", Inflate.LIBDEFLATE_SUCCESS), ("LIBDEFLATE_INSUFFICIENT_SPACE", Inflate.LIBDEFLATE_INSUFFICIENT_SPACE));

    [Fact]
    public void Thread_name_is_what_the_kernel_shows()
    {
        var seen = "";
        var thread = new System.Threading.Thread(() =>
        {
            Threads.SetName("qcow2blk-loop-1");
            seen = File.ReadAllText("/proc/thread-self/comm").TrimEnd();
        });
        thread.Start();
        thread.Join();
        Assert.Equal("qcow2blk-loop-1", seen);
    }

    [Fact]
    public void Compiler_tells_a_wrong_number() =>
        Assert.Contains("is not 1", Compile(["fcntl.h"], Assertion("O_RDONLY", 1)), StringComparison.Ordinal);
}
