using Qcow2Blk.Format;

namespace Qcow2Blk.Image;

/// <summary>What a client's discard does.</summary>
internal enum DiscardMode
{
    /// <summary>Frees whole clusters and punches the file.</summary>
    Unmap,

    /// <summary>Nothing; the client sees success.</summary>
    Ignore,
}

internal static class DiscardModes
{
    public static EnumWords<DiscardMode> Words { get; } = new((DiscardMode.Unmap, "unmap"), (DiscardMode.Ignore, "ignore"));
}
