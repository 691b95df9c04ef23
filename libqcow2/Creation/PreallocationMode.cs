using Qcow2Blk.Format;

namespace Qcow2Blk.Creation;

/// <summary>What of a new image is there before anybody writes to it.</summary>
internal enum PreallocationMode
{
    /// <summary>Nothing.</summary>
    Off,

    /// <summary>Tables, and a place for every cluster; the file has holes there.</summary>
    Metadata,

    /// <summary>The same, with space reserved by the file system.</summary>
    Falloc,

    /// <summary>The same, with zeroes written.</summary>
    Full,
}

internal static class PreallocationModes
{
    public static EnumWords<PreallocationMode> Words { get; } = new(
        (PreallocationMode.Off, "off"), (PreallocationMode.Metadata, "metadata"), (PreallocationMode.Falloc, "falloc"),
        (PreallocationMode.Full, "full"));
}
