"""Ends with status 0 if the ublk driver reports the feature that is named: UBLK_F_ZERO_COPY, UBLK_F_UPDATE_SIZE ...

Asks the driver itself (UBLK_U_CMD_GET_FEATURES through a ring), so that a case does not rely on what qcow2blk says.
"""

import ctypes
import mmap
import os
import struct
import sys

FEATURES = {"SUPPORT_ZERO_COPY": 0, "URING_CMD_COMP_IN_TASK": 1, "NEED_GET_DATA": 2, "USER_RECOVERY": 3, "USER_RECOVERY_REISSUE": 4,
            "UNPRIVILEGED_DEV": 5, "CMD_IOCTL_ENCODE": 6, "USER_COPY": 7, "ZONED": 8, "USER_RECOVERY_FAIL_IO": 9, "UPDATE_SIZE": 10,
            "AUTO_BUF_REG": 11, "QUIESCE": 12, "PER_IO_DAEMON": 13, "BUF_REG_OFF_DAEMON": 14, "BATCH_IO": 15}
IO_URING_SETUP, IO_URING_ENTER = 425, 426
SETUP_SQE128, ENTER_GETEVENTS, OP_URING_CMD = 1 << 10, 1, 46
GET_FEATURES = (2 << 30) | (32 << 16) | (ord("u") << 8) | 0x13  # _IOR('u', 0x13, struct ublksrv_ctrl_cmd)


def features():
    libc = ctypes.CDLL(None, use_errno=True)
    params = ctypes.create_string_buffer(120)
    struct.pack_into("I", params, 8, SETUP_SQE128)
    ring = libc.syscall(IO_URING_SETUP, 4, params)
    if ring < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    sq = struct.unpack_from("8I", params, 40)
    cq = struct.unpack_from("8I", params, 80)
    size = max(sq[6] + 4 * struct.unpack_from("I", params, 0)[0], cq[5] + 16 * struct.unpack_from("I", params, 4)[0])
    rings = mmap.mmap(ring, size)
    entries = mmap.mmap(ring, 4 * 128, offset=0x10000000)
    answer = ctypes.c_uint64()
    control = os.open("/dev/ublk-control", os.O_RDWR)
    struct.pack_into("=BBHiQQIIQHHI", entries, 0, OP_URING_CMD, 0, 0, control, GET_FEATURES, 0, 0, 0, 0, 0, 0, 0)
    # struct ublksrv_ctrl_cmd in the second half of the entry: dev_id, queue_id, len, addr ...
    struct.pack_into("=IHHQ", entries, 48, 0xFFFFFFFF, 0xFFFF, 8, ctypes.addressof(answer))
    struct.pack_into("I", rings, sq[6], 0)
    struct.pack_into("I", rings, sq[1], 1)
    if libc.syscall(IO_URING_ENTER, ring, 1, 1, ENTER_GETEVENTS, None, 0) < 0:
        raise OSError(ctypes.get_errno(), "io_uring_enter")
    result = struct.unpack_from("i", rings, cq[5] + 8)[0]
    if result < 0:
        raise OSError(-result, "UBLK_U_CMD_GET_FEATURES")
    return answer.value


if __name__ == "__main__":
    found = features()
    if len(sys.argv) == 1:
        print(" ".join(name for name, bit in FEATURES.items() if found >> bit & 1))
        sys.exit(0)
    sys.exit(0 if found >> FEATURES[sys.argv[1].removeprefix("UBLK_F_")] & 1 else 1)
