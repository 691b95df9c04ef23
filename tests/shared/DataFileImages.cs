namespace Qcow2Blk.Tests.Shared;

/// <summary>How qemu's tools are told of an image whose data file is not where the image says.</summary>
internal static class DataFileImages
{
    /// <summary>A name that qemu opens as the image with that data file.</summary>
    public static string Name(string image, string data) =>
        "json:{\"driver\":\"qcow2\",\"file\":{\"driver\":\"file\",\"filename\":\"" + image
            + "\"},\"data-file\":{\"driver\":\"file\",\"filename\":\"" + data + "\"}}";
}
