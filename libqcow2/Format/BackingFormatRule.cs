namespace Qcow2Blk.Format;

/// <summary>
/// Which format a backing file is opened as: always the one its overlay states. Probing would let a guest that writes
/// a qcow2 header into its raw disk choose which files of the host it reads next.
/// </summary>
internal static class BackingFormatRule
{
    /// <summary>The format stated by an image that has a backing file.</summary>
    /// <param name="header">that image</param>
    /// <param name="unstated">what the user says of backing files whose overlays state no format; null if nothing</param>
    /// <exception cref="ImageFormatException">none is stated, or one that this program does not read</exception>
    /// <remarks>As with qemu, what the header states counts more than what a name in JSON does.</remarks>
    public static ImageFormat Require(Header header, ImageFormat? unstated = null) => header.BackingFormat switch
    {
        null => InName(header) ?? unstated ?? throw new ImageFormatException(header.Path, "backing_format",
            $"backing file \"{header.BackingFile}\" has no stated format, and formats are never guessed"
            + $" (state it: --backing-format qcow2|raw, or in the image: qemu-img rebase -u -F FORMAT -b \"{header.BackingFile}\""
            + $" \"{header.Path}\")"),
        string other => ImageFormats.Words.TryParse(other) ?? throw new ImageFormatException(header.Path, "backing_format",
            $"backing file format \"{other}\" is not supported, only qcow2 and raw are"),
    };

    private static ImageFormat? InName(Header header) =>
        header.BackingFile is { } name && name.StartsWith(JsonBackingName.Prefix, System.StringComparison.Ordinal)
            ? JsonBackingName.Parse(header.Path, name).Format : null;
}
