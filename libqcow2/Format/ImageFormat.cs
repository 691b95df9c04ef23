namespace Qcow2Blk.Format;

/// <summary>The formats that an image, or a file in a backing chain, can have; never probed.</summary>
internal enum ImageFormat
{
    Qcow2,
    Raw,
}

internal static class ImageFormats
{
    public static EnumWords<ImageFormat> Words { get; } = new((ImageFormat.Qcow2, "qcow2"), (ImageFormat.Raw, "raw"));
}
