namespace Qcow2Blk.Exports.Ublk;

/// <summary>Which mode a device gets, by what is asked for and what the kernel offers.</summary>
internal static class UblkModeChoice
{
    private const ulong ZeroCopyFlags = Interop.Ublk.UBLK_F_SUPPORT_ZERO_COPY | Interop.Ublk.UBLK_F_AUTO_BUF_REG
        | Interop.Ublk.UBLK_F_USER_COPY;

    // Each tag keeps a buffer of this size in memory for ever: 16 MiB for a queue of 128.
    private const int MaximumBytesOfMap = 128 << 10;
    private const int MaximumBytesOfCopy = 1 << 20;

    /// <remarks>
    /// Measured (docs/performance.md): zero copy costs the fewest instructions for every size of request, from 4 KiB on, and
    /// mapped buffers fewer than user copy.
    /// </remarks>
    /// <param name="options">what is asked for</param>
    /// <param name="availability">what there is here</param>
    /// <exception cref="ExportRefusedException">the kernel does not offer the mode asked for</exception>
    public static UblkMode Choose(UblkExportOptions options, UblkAvailability availability)
    {
        // Both need a trusted server: what it does not fill shows the memory of others.
        var zeroCopy = !availability.IsUnprivileged && availability.Has(ZeroCopyFlags);
        var userCopy = !availability.IsUnprivileged && availability.Has(Interop.Ublk.UBLK_F_USER_COPY);
        return options.Mode switch
        {
            UblkMode.Auto => zeroCopy && !options.IsMemory && !options.NullIo ? UblkMode.ZeroCopy : UblkMode.Map,
            UblkMode.ZeroCopy when !zeroCopy => throw Missing(options.Mode, "UBLK_F_AUTO_BUF_REG, Linux 6.16", availability),
            UblkMode.UserCopy when !userCopy => throw Missing(options.Mode, "UBLK_F_USER_COPY, Linux 6.5", availability),
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

    private static ExportRefusedException Missing(UblkMode mode, string what, UblkAvailability availability) => availability.IsUnprivileged
        ? new(ExportRefusal.Denied, $"--ublk-mode {UblkModes.Words.Of(mode)} needs CAP_SYS_ADMIN", "use --ublk-mode auto")
        : new(ExportRefusal.Unavailable, $"this kernel does not offer --ublk-mode {UblkModes.Words.Of(mode)} ({what})",
            "use --ublk-mode auto");
}
