using Qcow2Blk.Format;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>How the bytes of a request come from the kernel to the image and back.</summary>
internal enum UblkMode
{
    /// <summary>The fastest that the kernel offers, by request size.</summary>
    Auto,

    /// <summary>The image file is read and written with the pages of the request itself (UBLK_F_AUTO_BUF_REG); what needs its bytes is
    /// copied.</summary>
    ZeroCopy,

    /// <summary>The server copies with pread and pwrite on the character device (UBLK_F_USER_COPY).</summary>
    UserCopy,

    /// <summary>The driver copies into a buffer of each tag.</summary>
    Map,
}

internal static class UblkModes
{
    public static EnumWords<UblkMode> Words { get; } = new(
        (UblkMode.Auto, "auto"), (UblkMode.ZeroCopy, "zero-copy"), (UblkMode.UserCopy, "user-copy"), (UblkMode.Map, "map"));
}
