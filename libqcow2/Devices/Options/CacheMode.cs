using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Options;

/// <summary>How the image file is cached by the host.</summary>
internal enum CacheMode
{
    /// <summary>O_DIRECT; where the file system refuses it, a warning and the page cache.</summary>
    None,

    /// <summary>The page cache; a flush still reaches the disk.</summary>
    Writeback,
}

internal static class CacheModes
{
    public static EnumWords<CacheMode> Words { get; } = new((CacheMode.None, "none"), (CacheMode.Writeback, "writeback"));
}
