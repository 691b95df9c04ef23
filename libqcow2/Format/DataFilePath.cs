using System;

namespace Qcow2Blk.Format;

/// <summary>Where the external data file of an image is.</summary>
internal static class DataFilePath
{
    /// <summary>
    /// Resolves the name that the image holds: absolute names stay, others are relative to the directory of the image, as those
    /// of backing files are. It is a file name and nothing else: qemu, too, takes neither protocols nor JSON from an image here.
    /// </summary>
    /// <param name="header">of an image with the data file bit</param>
    /// <exception cref="ImageFormatException">the image holds no name, or an empty one</exception>
    public static string Resolve(Header header)
    {
        if (header.DataFileName is not { Length: > 0 } name)
        {
            throw new ImageFormatException(header.Path, "data_file",
                "the image has an external data file and does not name it: say where it is with --data-file");
        }

        var slash = header.Path.LastIndexOf('/');
        return name[0] == '/' || slash < 0 ? name : string.Concat(header.Path.AsSpan(0, slash + 1), name);
    }
}
