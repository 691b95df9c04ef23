namespace Qcow2Blk.Protocol;

/// <summary>
/// The error numbers that may be sent to a client ("Error values"). They are those of Linux, but only these eight are
/// part of the protocol.
/// </summary>
internal static class NbdErrors
{
    public const uint Success = 0;
    public const uint PermissionDenied = 1;
    public const uint InputOutput = 5;
    public const uint NoMemory = 12;
    public const uint Invalid = 22;
    public const uint NoSpace = 28;
    public const uint Overflow = 75;
    public const uint NotSupported = 95;
    public const uint Shutdown = 108;

    /// <summary>
    /// The number to send for an errno of Linux. The sign does not matter (the I/O path uses negative numbers); what
    /// the protocol has no number for is an I/O error. 0 stays 0.
    /// </summary>
    public static uint FromErrno(int errno) => errno switch
    {
        0 => Success,
        1 or -1 => PermissionDenied,
        30 or -30 => PermissionDenied, // EROFS
        12 or -12 => NoMemory,
        22 or -22 => Invalid,
        28 or -28 => NoSpace,
        122 or -122 => NoSpace, // EDQUOT
        27 or -27 => NoSpace, // EFBIG
        75 or -75 => Overflow,
        95 or -95 => NotSupported, // EOPNOTSUPP, the same number as ENOTSUP on Linux
        108 or -108 => Shutdown,
        _ => InputOutput,
    };
}
