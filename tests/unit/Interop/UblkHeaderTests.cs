using System;
using System.Runtime.CompilerServices;
using Qcow2Blk.Interop;
using Xunit;
using static Qcow2Blk.Tests.Support.CHeaders;

namespace Qcow2Blk.Tests.Interop;

/// <summary>
/// linux/ublk_cmd.h in C#. The oldest header we meet (Linux 6.1) has the plain command numbers, the first flags
/// and structures; all else is compared with the newest.
/// </summary>
public sealed class UblkHeaderTests
{
    private static readonly string[] s_headers = ["linux/ublk_cmd.h", "linux/ioctl.h", "errno.h"];

    [Fact]
    public void Numbers_are_the_first_headers() => AssertInC(s_headers, s_firstNumbers);

    [Fact]
    public void Numbers_are_the_newest_headers()
    {
        AssertInNewest(s_headers, s_firstNumbers);
        AssertInNewest(s_headers, s_laterNumbers);
    }

    [Fact]
    public void Commands_are_the_first_headers_plain_numbers_with_their_encoding() => AssertInC(s_headers,
        ("_IOR('u', UBLK_CMD_GET_QUEUE_AFFINITY, struct ublksrv_ctrl_cmd)", Ublk.UBLK_U_CMD_GET_QUEUE_AFFINITY),
        ("_IOR('u', UBLK_CMD_GET_DEV_INFO, struct ublksrv_ctrl_cmd)", Ublk.UBLK_U_CMD_GET_DEV_INFO),
        ("_IOWR('u', UBLK_CMD_ADD_DEV, struct ublksrv_ctrl_cmd)", Ublk.UBLK_U_CMD_ADD_DEV),
        ("_IOWR('u', UBLK_CMD_DEL_DEV, struct ublksrv_ctrl_cmd)", Ublk.UBLK_U_CMD_DEL_DEV),
        ("_IOWR('u', UBLK_CMD_START_DEV, struct ublksrv_ctrl_cmd)", Ublk.UBLK_U_CMD_START_DEV),
        ("_IOWR('u', UBLK_CMD_STOP_DEV, struct ublksrv_ctrl_cmd)", Ublk.UBLK_U_CMD_STOP_DEV),
        ("_IOWR('u', UBLK_CMD_SET_PARAMS, struct ublksrv_ctrl_cmd)", Ublk.UBLK_U_CMD_SET_PARAMS),
        ("_IOR('u', UBLK_CMD_GET_PARAMS, struct ublksrv_ctrl_cmd)", Ublk.UBLK_U_CMD_GET_PARAMS),
        ("_IOWR('u', UBLK_IO_FETCH_REQ, struct ublksrv_io_cmd)", Ublk.UBLK_U_IO_FETCH_REQ),
        ("_IOWR('u', UBLK_IO_COMMIT_AND_FETCH_REQ, struct ublksrv_io_cmd)", Ublk.UBLK_U_IO_COMMIT_AND_FETCH_REQ),
        ("_IOWR('u', UBLK_IO_NEED_GET_DATA, struct ublksrv_io_cmd)", Ublk.UBLK_U_IO_NEED_GET_DATA));

    [Fact]
    public void Commands_are_the_newest_headers() => AssertInNewest(s_headers,
        ("UBLK_U_CMD_GET_QUEUE_AFFINITY", Ublk.UBLK_U_CMD_GET_QUEUE_AFFINITY), ("UBLK_U_CMD_GET_DEV_INFO", Ublk.UBLK_U_CMD_GET_DEV_INFO),
        ("UBLK_U_CMD_ADD_DEV", Ublk.UBLK_U_CMD_ADD_DEV), ("UBLK_U_CMD_DEL_DEV", Ublk.UBLK_U_CMD_DEL_DEV),
        ("UBLK_U_CMD_START_DEV", Ublk.UBLK_U_CMD_START_DEV), ("UBLK_U_CMD_STOP_DEV", Ublk.UBLK_U_CMD_STOP_DEV),
        ("UBLK_U_CMD_SET_PARAMS", Ublk.UBLK_U_CMD_SET_PARAMS), ("UBLK_U_CMD_GET_PARAMS", Ublk.UBLK_U_CMD_GET_PARAMS),
        ("UBLK_U_CMD_START_USER_RECOVERY", Ublk.UBLK_U_CMD_START_USER_RECOVERY),
        ("UBLK_U_CMD_END_USER_RECOVERY", Ublk.UBLK_U_CMD_END_USER_RECOVERY), ("UBLK_U_CMD_GET_DEV_INFO2", Ublk.UBLK_U_CMD_GET_DEV_INFO2),
        ("UBLK_U_CMD_GET_FEATURES", Ublk.UBLK_U_CMD_GET_FEATURES), ("UBLK_U_CMD_DEL_DEV_ASYNC", Ublk.UBLK_U_CMD_DEL_DEV_ASYNC),
        ("UBLK_U_CMD_UPDATE_SIZE", Ublk.UBLK_U_CMD_UPDATE_SIZE), ("UBLK_U_CMD_QUIESCE_DEV", Ublk.UBLK_U_CMD_QUIESCE_DEV),
        ("UBLK_U_CMD_TRY_STOP_DEV", Ublk.UBLK_U_CMD_TRY_STOP_DEV), ("UBLK_FEATURES_LEN", Ublk.UBLK_FEATURES_LEN),
        ("UBLK_U_IO_FETCH_REQ", Ublk.UBLK_U_IO_FETCH_REQ), ("UBLK_U_IO_COMMIT_AND_FETCH_REQ", Ublk.UBLK_U_IO_COMMIT_AND_FETCH_REQ),
        ("UBLK_U_IO_NEED_GET_DATA", Ublk.UBLK_U_IO_NEED_GET_DATA), ("UBLK_U_IO_REGISTER_IO_BUF", Ublk.UBLK_U_IO_REGISTER_IO_BUF),
        ("UBLK_U_IO_UNREGISTER_IO_BUF", Ublk.UBLK_U_IO_UNREGISTER_IO_BUF));

    [Fact]
    public void Structures_are_the_first_headers() => AssertInC(s_headers,
    [
        .. Layout<ublksrv_ctrl_cmd>("struct ublksrv_ctrl_cmd", "dev_id", "queue_id", "len", "addr", "data"),
        .. Layout<ublksrv_ctrl_dev_info>("struct ublksrv_ctrl_dev_info", s_firstDeviceInfo),
        .. Layout<ublksrv_io_desc>("struct ublksrv_io_desc", s_ioDescriptor),
        .. Layout<ublksrv_io_cmd>("struct ublksrv_io_cmd", "q_id", "tag", "result", "addr"),
        .. Layout<ublk_param_basic>("struct ublk_param_basic", s_basic),
        .. Layout<ublk_param_discard>("struct ublk_param_discard", s_discard),
    ]);

    [Fact]
    public void Structures_are_the_newest_headers() => AssertInNewest(s_headers,
    [
        .. Layout<ublksrv_ctrl_cmd>("struct ublksrv_ctrl_cmd", "dev_id", "queue_id", "len", "addr", "data", "dev_path_len"),
        .. Layout<ublksrv_ctrl_dev_info>("struct ublksrv_ctrl_dev_info", [.. s_firstDeviceInfo, "io_desc_size", "owner_uid", "owner_gid"]),
        .. Layout<ublksrv_io_desc>("struct ublksrv_io_desc", s_ioDescriptor),
        .. Layout<ublksrv_io_cmd>("struct ublksrv_io_cmd", "q_id", "tag", "result", "addr"),
        .. Layout<ublk_auto_buf_reg>("struct ublk_auto_buf_reg", "index", "flags", "reserved0", "reserved1"),
        .. Layout<ublk_param_basic>("struct ublk_param_basic", s_basic),
        .. Layout<ublk_param_discard>("struct ublk_param_discard", s_discard),
        .. Layout<ublk_param_devt>("struct ublk_param_devt", "char_major", "char_minor", "disk_major", "disk_minor"),
        .. Layout<ublk_param_zoned>("struct ublk_param_zoned", "max_open_zones", "max_active_zones", "max_zone_append_sectors"),
        .. Layout<ublk_param_dma_align>("struct ublk_param_dma_align", "alignment"),
        .. Layout<ublk_param_segment>("struct ublk_param_segment", "seg_boundary_mask", "max_segment_size", "max_segments"),
        .. Layout<ublk_param_integrity>("struct ublk_param_integrity",
            "flags", "max_integrity_segments", "interval_exp", "metadata_size", "pi_offset", "csum_type", "tag_size"),
        .. Layout<ublk_params>("struct ublk_params",
            "len", "types", "basic", "discard", "devt", "zoned", "dma", "seg", "integrity"),
    ]);

    [Fact]
    public void Command_sqe_is_the_newest_headers() => AssertInNewest(["linux/io_uring.h"],
    [
        .. Layout<io_uring_sqe>("struct io_uring_sqe", "cmd_op", "uring_cmd_flags", "cmd"),
        ("IORING_OP_URING_CMD", IoUring.IORING_OP_URING_CMD),
        ("IORING_SETUP_SQE128", IoUring.IORING_SETUP_SQE128),
    ]);

    [Theory]
    [InlineData(0, 0, 0, 0x80000000)]
    [InlineData(0, 1, 0, 0x82000000)]
    [InlineData(1, 0, 0, 0x20080000000)]
    [InlineData(3, 127, 4096, 0x8000_0000 + (3L << 41) + (127L << 25) + 4096)]
    public void Position_of_request_data_is_made_of_queue_tag_and_byte(int queue, int tag, long offset, long position) =>
        Assert.Equal(position, Ublk.IoBufferOffset(queue, tag, offset));

    [Fact]
    public void Auto_buffer_word_is_the_structure_read_as_a_number()
    {
        var word = Ublk.AutoBufferWord(0x1234, Ublk.UBLK_AUTO_BUF_REG_FALLBACK);
        var structure = Unsafe.BitCast<ulong, ublk_auto_buf_reg>(word);
        Assert.Equal((0x1234, Ublk.UBLK_AUTO_BUF_REG_FALLBACK, 0, 0u),
            (structure.index, structure.flags, structure.reserved0, structure.reserved1));
    }

    private static readonly string[] s_firstDeviceInfo =
        ["nr_hw_queues", "queue_depth", "state", "max_io_buf_bytes", "dev_id", "ublksrv_pid", "flags", "ublksrv_flags"];

    private static readonly string[] s_ioDescriptor = ["op_flags", "nr_sectors", "start_sector", "addr"];

    private static readonly string[] s_basic =
    [
        "attrs", "logical_bs_shift", "physical_bs_shift", "io_opt_shift", "io_min_shift", "max_sectors", "chunk_sectors", "dev_sectors",
        "virt_boundary_mask",
    ];

    private static readonly string[] s_discard =
        ["discard_alignment", "discard_granularity", "max_discard_sectors", "max_write_zeroes_sectors", "max_discard_segments"];

    private static readonly (string, long)[] s_firstNumbers =
    [
        ("UBLK_IO_RES_OK", Ublk.UBLK_IO_RES_OK), ("UBLK_IO_RES_NEED_GET_DATA", Ublk.UBLK_IO_RES_NEED_GET_DATA),
        ("UBLK_IO_RES_ABORT", Ublk.UBLK_IO_RES_ABORT), ("UBLKSRV_CMD_BUF_OFFSET", Ublk.UBLKSRV_CMD_BUF_OFFSET),
        ("UBLKSRV_IO_BUF_OFFSET", Ublk.UBLKSRV_IO_BUF_OFFSET), ("UBLK_MAX_QUEUE_DEPTH", Ublk.UBLK_MAX_QUEUE_DEPTH),
        ("UBLK_F_SUPPORT_ZERO_COPY", (long)Ublk.UBLK_F_SUPPORT_ZERO_COPY),
        ("UBLK_F_URING_CMD_COMP_IN_TASK", (long)Ublk.UBLK_F_URING_CMD_COMP_IN_TASK),
        ("UBLK_F_NEED_GET_DATA", (long)Ublk.UBLK_F_NEED_GET_DATA), ("UBLK_F_USER_RECOVERY", (long)Ublk.UBLK_F_USER_RECOVERY),
        ("UBLK_F_USER_RECOVERY_REISSUE", (long)Ublk.UBLK_F_USER_RECOVERY_REISSUE),
        ("UBLK_S_DEV_DEAD", Ublk.UBLK_S_DEV_DEAD), ("UBLK_S_DEV_LIVE", Ublk.UBLK_S_DEV_LIVE),
        ("UBLK_S_DEV_QUIESCED", Ublk.UBLK_S_DEV_QUIESCED),
        ("UBLK_IO_OP_READ", Ublk.UBLK_IO_OP_READ), ("UBLK_IO_OP_WRITE", Ublk.UBLK_IO_OP_WRITE), ("UBLK_IO_OP_FLUSH", Ublk.UBLK_IO_OP_FLUSH),
        ("UBLK_IO_OP_DISCARD", Ublk.UBLK_IO_OP_DISCARD), ("UBLK_IO_OP_WRITE_SAME", Ublk.UBLK_IO_OP_WRITE_SAME),
        ("UBLK_IO_OP_WRITE_ZEROES", Ublk.UBLK_IO_OP_WRITE_ZEROES), ("UBLK_IO_F_FAILFAST_DEV", Ublk.UBLK_IO_F_FAILFAST_DEV),
        ("UBLK_IO_F_FAILFAST_TRANSPORT", Ublk.UBLK_IO_F_FAILFAST_TRANSPORT), ("UBLK_IO_F_FAILFAST_DRIVER", Ublk.UBLK_IO_F_FAILFAST_DRIVER),
        ("UBLK_IO_F_META", Ublk.UBLK_IO_F_META), ("UBLK_IO_F_FUA", Ublk.UBLK_IO_F_FUA), ("UBLK_IO_F_NOUNMAP", Ublk.UBLK_IO_F_NOUNMAP),
        ("UBLK_IO_F_SWAP", Ublk.UBLK_IO_F_SWAP), ("UBLK_ATTR_READ_ONLY", Ublk.UBLK_ATTR_READ_ONLY),
        ("UBLK_ATTR_ROTATIONAL", Ublk.UBLK_ATTR_ROTATIONAL), ("UBLK_ATTR_VOLATILE_CACHE", Ublk.UBLK_ATTR_VOLATILE_CACHE),
        ("UBLK_ATTR_FUA", Ublk.UBLK_ATTR_FUA), ("UBLK_PARAM_TYPE_BASIC", Ublk.UBLK_PARAM_TYPE_BASIC),
        ("UBLK_PARAM_TYPE_DISCARD", Ublk.UBLK_PARAM_TYPE_DISCARD),
    ];

    private static readonly (string, long)[] s_laterNumbers =
    [
        ("UBLK_F_UNPRIVILEGED_DEV", (long)Ublk.UBLK_F_UNPRIVILEGED_DEV), ("UBLK_F_CMD_IOCTL_ENCODE", (long)Ublk.UBLK_F_CMD_IOCTL_ENCODE),
        ("UBLK_F_USER_COPY", (long)Ublk.UBLK_F_USER_COPY), ("UBLK_F_ZONED", (long)Ublk.UBLK_F_ZONED),
        ("UBLK_F_USER_RECOVERY_FAIL_IO", (long)Ublk.UBLK_F_USER_RECOVERY_FAIL_IO), ("UBLK_F_UPDATE_SIZE", (long)Ublk.UBLK_F_UPDATE_SIZE),
        ("UBLK_F_AUTO_BUF_REG", (long)Ublk.UBLK_F_AUTO_BUF_REG), ("UBLK_F_QUIESCE", (long)Ublk.UBLK_F_QUIESCE),
        ("UBLK_F_PER_IO_DAEMON", (long)Ublk.UBLK_F_PER_IO_DAEMON), ("UBLK_F_BUF_REG_OFF_DAEMON", (long)Ublk.UBLK_F_BUF_REG_OFF_DAEMON),
        ("UBLK_F_BATCH_IO", (long)Ublk.UBLK_F_BATCH_IO), ("UBLK_F_INTEGRITY", (long)Ublk.UBLK_F_INTEGRITY),
        ("UBLK_F_SAFE_STOP_DEV", (long)Ublk.UBLK_F_SAFE_STOP_DEV), ("UBLK_F_NO_AUTO_PART_SCAN", (long)Ublk.UBLK_F_NO_AUTO_PART_SCAN),
        ("UBLK_F_SHMEM_ZC", (long)Ublk.UBLK_F_SHMEM_ZC), ("UBLK_F_IO_DESC_SIZE", (long)Ublk.UBLK_F_IO_DESC_SIZE),
        ("UBLK_S_DEV_FAIL_IO", Ublk.UBLK_S_DEV_FAIL_IO), ("UBLK_IO_F_NEED_REG_BUF", Ublk.UBLK_IO_F_NEED_REG_BUF),
        ("UBLK_AUTO_BUF_REG_FALLBACK", Ublk.UBLK_AUTO_BUF_REG_FALLBACK), ("UBLK_IO_BUF_OFF", Ublk.UBLK_IO_BUF_OFF),
        ("UBLK_IO_BUF_BITS", Ublk.UBLK_IO_BUF_BITS), ("UBLK_TAG_OFF", Ublk.UBLK_TAG_OFF), ("UBLK_TAG_BITS", Ublk.UBLK_TAG_BITS),
        ("UBLK_QID_OFF", Ublk.UBLK_QID_OFF), ("UBLK_QID_BITS", Ublk.UBLK_QID_BITS), ("UBLK_MAX_NR_QUEUES", Ublk.UBLK_MAX_NR_QUEUES),
        ("UBLK_PARAM_TYPE_DEVT", Ublk.UBLK_PARAM_TYPE_DEVT), ("UBLK_PARAM_TYPE_ZONED", Ublk.UBLK_PARAM_TYPE_ZONED),
        ("UBLK_PARAM_TYPE_DMA_ALIGN", Ublk.UBLK_PARAM_TYPE_DMA_ALIGN), ("UBLK_PARAM_TYPE_SEGMENT", Ublk.UBLK_PARAM_TYPE_SEGMENT),
        ("UBLK_PARAM_TYPE_INTEGRITY", Ublk.UBLK_PARAM_TYPE_INTEGRITY),
    ];
}
