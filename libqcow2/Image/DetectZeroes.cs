using Qcow2Blk.Format;

namespace Qcow2Blk.Image;

/// <summary>What becomes of writes whose payload is all zeroes.</summary>
public enum DetectZeroes
{
    Off,

    /// <summary>They become zero writes that keep clusters allocated.</summary>
    On,

    /// <summary>They become zero writes that may free clusters.</summary>
    Unmap,
}

internal static class DetectZeroesModes
{
    public static EnumWords<DetectZeroes> Words { get; } = new(
        (DetectZeroes.Off, "off"), (DetectZeroes.On, "on"), (DetectZeroes.Unmap, "unmap"));
}
