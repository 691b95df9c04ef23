using System;

namespace Qcow2Blk.Format;

/// <summary>Where the backing file of an image is, by the rules that qemu follows.</summary>
internal static class BackingPath
{
    /// <summary>
    /// Resolves a stored backing file name: absolute names stay, others are relative to the directory of the overlay.
    /// The result is not normalised; ".." and symbolic links mean what they mean to the kernel.
    /// </summary>
    /// <param name="overlayPath">the image that holds the name</param>
    /// <param name="backingName">the name as stored</param>
    /// <exception cref="ImageFormatException">
    /// the name is empty, or has a colon before its first slash: qemu would take it as a protocol, which a file from somewhere
    /// else must not make us open; or it describes a node that is not a file
    /// </exception>
    public static string Resolve(string overlayPath, string backingName)
    {
        if (backingName.Length == 0)
            throw new ImageFormatException(overlayPath, "backing_file_name", "backing file name is empty");
        if (backingName.StartsWith(JsonBackingName.Prefix, StringComparison.Ordinal))
            return JsonBackingName.Parse(overlayPath, backingName).FileName;
        var mark = backingName.AsSpan().IndexOfAny(':', '/');
        if (backingName.Contains("://", StringComparison.Ordinal) && mark >= 0 && backingName[mark] == ':')
        {
            throw new ImageFormatException(overlayPath, "backing_file_name",
                $"backing file name \"{backingName.Split('?')[0]}\" is a URL of the protocol \"{backingName[..mark]}:\", and only"
                + " \"attach\" reads bases in stores (with --base or --allow-remote-backing)");
        }

        if (mark >= 0 && backingName[mark] == ':')
        {
            throw new ImageFormatException(overlayPath, "backing_file_name",
                $"backing file name \"{backingName}\" is not a file: protocol \"{backingName[..mark]}:\" is not supported"
                + " (only file names are; a file whose name has a colon is written as ./NAME)");
        }

        if (backingName[0] == '/')
            return backingName;
        var slash = overlayPath.LastIndexOf('/');
        return slash < 0 ? backingName : string.Concat(overlayPath.AsSpan(0, slash + 1), backingName);
    }
}
