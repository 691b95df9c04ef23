namespace Qcow2Blk.Format;

/// <summary>What the user says of backing files: where images do not say it, or not any more.</summary>
/// <param name="File">the backing file of the first image, in place of the one that it names; null for that one</param>
/// <param name="Format">the format of every backing file of the chain whose overlay states none; null if that is an error</param>
internal readonly record struct BackingChoice(string? File, ImageFormat? Format)
{
    /// <summary>The file below an image of the chain.</summary>
    /// <param name="overlay">the image</param>
    /// <param name="isFirst">whether it is the first of the chain, the one that was asked for</param>
    /// <returns>null if it has none</returns>
    /// <exception cref="ImageFormatException">it cannot be told what that is, or the user contradicts the image</exception>
    public BackingReference? Below(Header overlay, bool isFirst)
    {
        var given = isFirst ? File : null;
        if (overlay.BackingFile is null)
        {
            return given is null ? null : throw new ImageFormatException(overlay.Path, "backing_file_offset",
                $"the image has no backing file; --backing {given} would change what its disk holds");
        }

        var format = FormatBelow(overlay, isFirst);
        if (given is not null)
            return new BackingReference(given, format, "the backing file given with --backing");
        var path = BackingPath.Resolve(overlay.Path, overlay.BackingFile);
        return new BackingReference(path, format, $"backing file \"{overlay.BackingFile}\"");
    }

    /// <summary>The format of what lies below an image that has a backing file, wherever that is.</summary>
    /// <exception cref="ImageFormatException">it is not stated, or the user contradicts the image</exception>
    public ImageFormat FormatBelow(Header overlay, bool isFirst)
    {
        if (isFirst)
            RefuseContradiction(overlay);
        return BackingFormatRule.Require(overlay, Format);
    }

    /// <summary>The first image is the one that the user speaks of; those below may well be of both formats.</summary>
    private void RefuseContradiction(Header overlay)
    {
        if (Format is { } format && overlay.BackingFormat is { } stated && stated != ImageFormats.Words.Of(format))
        {
            throw new ImageFormatException(overlay.Path, "backing_format",
                $"the image states that its backing file is {stated}, and --backing-format says {ImageFormats.Words.Of(format)} (leave"
                    + $" it out)");
        }
    }
}

/// <summary>A backing file, and as what it is opened.</summary>
/// <param name="Path">where it is</param>
/// <param name="Format">never probed</param>
/// <param name="What">for messages: <c>backing file "base.qcow2"</c></param>
internal readonly record struct BackingReference(string Path, ImageFormat Format, string What);
