namespace Qcow2Blk.Format;

/// <summary>The formats that an image, or a file in a backing chain, can have; never probed.</summary>
public enum ImageFormat
{
    Qcow2,
    Raw,
}

public static class ImageFormats
{
    public static EnumWords<ImageFormat> Words { get; } = new((ImageFormat.Qcow2, "qcow2"), (ImageFormat.Raw, "raw"));
}
