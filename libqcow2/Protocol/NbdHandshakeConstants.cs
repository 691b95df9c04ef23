using System;

namespace Qcow2Blk.Protocol;

/// <summary>Handshake flags, 16 bits, sent by the server in its greeting.</summary>
[Flags]
internal enum HandshakeFlags : ushort
{
    None = 0,
    FixedNewstyle = 1 << 0,
    NoZeroes = 1 << 1,
}

/// <summary>Client flags, 32 bits, the client's answer to the greeting.</summary>
[Flags]
internal enum ClientFlags : uint
{
    None = 0,
    FixedNewstyle = 1 << 0,
    NoZeroes = 1 << 1,
}

/// <summary>NBD_OPT_*: what a client may ask for during the handshake.</summary>
internal enum NbdOption : uint
{
    None = 0,
    ExportName = 1,
    Abort = 2,
    List = 3,

    /// <summary>Withdrawn by the specification; answered as unknown.</summary>
    PeekExport = 4,
    StartTls = 5,
    Info = 6,
    Go = 7,
    StructuredReply = 8,
    ListMetaContext = 9,
    SetMetaContext = 10,
    ExtendedHeaders = 11,
}

/// <summary>NBD_REP_*: the type of a reply to an option. Bit 31 marks errors, whose data is a text for people.</summary>
internal enum NbdReply : uint
{
    None = 0,
    Ack = 1,
    Server = 2,
    Info = 3,
    MetaContext = 4,

    ErrorUnsupported = 0x80000001,
    ErrorPolicy = 0x80000002,
    ErrorInvalid = 0x80000003,
    ErrorPlatform = 0x80000004,
    ErrorTlsRequired = 0x80000005,
    ErrorUnknown = 0x80000006,
    ErrorShutdown = 0x80000007,
    ErrorBlockSizeRequired = 0x80000008,
    ErrorTooBig = 0x80000009,
    ErrorExtendedHeadersRequired = 0x8000000a,
}

/// <summary>NBD_INFO_*: one kind of information in NBD_REP_INFO.</summary>
internal enum NbdInfo : ushort
{
    Export = 0,
    Name = 1,
    Description = 2,
    BlockSize = 3,
}

/// <summary>NBD_FLAG_*: transmission flags, 16 bits, what an export can do.</summary>
[Flags]
internal enum TransmissionFlags : ushort
{
    None = 0,
    HasFlags = 1 << 0,
    ReadOnly = 1 << 1,
    SendFlush = 1 << 2,
    SendFua = 1 << 3,
    Rotational = 1 << 4,
    SendTrim = 1 << 5,
    SendWriteZeroes = 1 << 6,
    SendDf = 1 << 7,
    CanMultiConnection = 1 << 8,
    SendResize = 1 << 9,
    SendCache = 1 << 10,
    SendFastZero = 1 << 11,
    BlockStatusPayload = 1 << 12,
}
