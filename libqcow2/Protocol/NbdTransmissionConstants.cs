using System;

namespace Qcow2Blk.Protocol;

/// <summary>NBD_CMD_*: the type of a request.</summary>
public enum NbdCommand : ushort
{
    Read = 0,
    Write = 1,
    Disconnect = 2,
    Flush = 3,
    Trim = 4,
    Cache = 5,
    WriteZeroes = 6,
    BlockStatus = 7,

    /// <summary>Experimental; answered as unknown.</summary>
    Resize = 8,
}

/// <summary>NBD_CMD_FLAG_*: 16 bits in every request.</summary>
[Flags]
internal enum CommandFlags : ushort
{
    None = 0,

    /// <summary>Reply only when what was written survives power loss.</summary>
    Fua = 1 << 0,

    /// <summary>Write zeroes without making a hole.</summary>
    NoHole = 1 << 1,

    /// <summary>Do not fragment: at most one content chunk in the reply to a read.</summary>
    Df = 1 << 2,

    /// <summary>Block status of one extent only.</summary>
    RequestOne = 1 << 3,

    /// <summary>Write zeroes only if that is faster than writing them, else NBD_ENOTSUP.</summary>
    FastZero = 1 << 4,

    /// <summary>Extended headers: the length in the header is that of the payload which follows.</summary>
    PayloadLength = 1 << 5,
}

/// <summary>NBD_REPLY_TYPE_*: what a structured or extended reply chunk holds. Bit 15 marks errors.</summary>
internal enum ReplyType : ushort
{
    None = 0,
    OffsetData = 1,
    OffsetHole = 2,
    BlockStatus = 5,
    BlockStatusExtended = 6,
    Error = 0x8001,
    ErrorOffset = 0x8002,
}

/// <summary>NBD_REPLY_FLAG_*: 16 bits in every structured or extended reply chunk.</summary>
[Flags]
internal enum ReplyFlags : ushort
{
    None = 0,

    /// <summary>The last chunk of this reply.</summary>
    Done = 1 << 0,
}

/// <summary>What replies look like in a session; decided by the handshake.</summary>
public enum ReplyMode
{
    /// <summary>16-byte simple replies only.</summary>
    Simple = 0,

    /// <summary>20-byte chunks; simple replies stay allowed for everything but reads.</summary>
    Structured = 1,

    /// <summary>32-byte chunks only, and 32-byte requests.</summary>
    Extended = 2,
}

/// <summary>Status flags of the metadata context base:allocation (NBD_STATE_*).</summary>
[Flags]
internal enum AllocationState : uint
{
    None = 0,
    Hole = 1 << 0,
    Zero = 1 << 1,
}

/// <summary>Flags of a "qemu:dirty-bitmap:" context.</summary>
[Flags]
internal enum BitmapState : uint
{
    None = 0,
    Dirty = 1 << 0,
}
