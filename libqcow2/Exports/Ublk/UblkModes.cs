using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>Which mode a device gets, by what is asked for and what the kernel offers.</summary>
internal static class UblkModes
{
    private const ulong ZeroCopyFlags = Interop.Ublk.UBLK_F_SUPPORT_ZERO_COPY | Interop.Ublk.UBLK_F_AUTO_BUF_REG | Interop.Ublk.UBLK_F_USER_COPY;

    /// <summary>Below this, copying costs less than handing pages around (measured, docs/performance.md).</summary>
    public const int ZeroCopyFrom = 65536;

    // Each tag keeps a buffer of this size in memory for ever: 16 MiB for a queue of 128.
    private const int MaximumBytesOfMap = 128 << 10;
    private const int MaximumBytesOfCopy = 1 << 20;

    public static string Spell(UblkMode mode) => mode switch
    {
        UblkMode.ZeroCopy => "zero-copy",
        UblkMode.UserCopy => "user-copy",
        UblkMode.Map => "map",
        _ => "auto",
    };

    /// <param name="options">what is asked for</param>
    /// <param name="features">what GET_FEATURES answered</param>
    /// <exception cref="ExportRefusedException">the kernel does not offer the mode asked for</exception>
    public static UblkMode Choose(UblkExportOptions options, ulong features)
    {
        var zeroCopy = (features & ZeroCopyFlags) == ZeroCopyFlags;
        var userCopy = (features & Interop.Ublk.UBLK_F_USER_COPY) != 0;
        return options.Mode switch
        {
            UblkMode.Auto => zeroCopy && !options.IsMemory && !options.NullIo ? UblkMode.ZeroCopy : UblkMode.Map,
            UblkMode.ZeroCopy when !zeroCopy => throw Missing("zero-copy", "UBLK_F_AUTO_BUF_REG, Linux 6.16"),
            UblkMode.UserCopy when !userCopy => throw Missing("user-copy", "UBLK_F_USER_COPY, Linux 6.5"),
            _ => options.Mode,
        };
    }

    /// <summary>The flags of ADD_DEV that ask for a mode.</summary>
    public static ulong FlagsOf(UblkMode mode) => mode switch
    {
        UblkMode.ZeroCopy => ZeroCopyFlags,
        UblkMode.UserCopy => Interop.Ublk.UBLK_F_USER_COPY,
        _ => 0,
    };

    /// <summary>The mode of a device, by the flags that the kernel granted.</summary>
    public static UblkMode Of(ulong flags) =>
        (flags & ZeroCopyFlags) == ZeroCopyFlags ? UblkMode.ZeroCopy
        : (flags & Interop.Ublk.UBLK_F_USER_COPY) != 0 ? UblkMode.UserCopy
        : UblkMode.Map;

    public static int MaximumBytesOf(UblkMode mode) => mode == UblkMode.Map ? MaximumBytesOfMap : MaximumBytesOfCopy;

    private static ExportRefusedException Missing(string mode, string what) =>
        new(ExportRefusal.Unavailable, $"this kernel does not offer --ublk-mode {mode} ({what})", "use --ublk-mode auto");
}
