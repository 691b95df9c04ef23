using System;
using System.IO;

namespace Qcow2Blk.Devices.Options;

/// <summary>Names of files as users give them.</summary>
internal static class FilePath
{
    /// <summary>
    /// Made absolute by the current directory, without following links: backing names are relative to what the user wrote. Nothing
    /// stays nothing.
    /// </summary>
    public static string Absolute(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return path.Length == 0 ? path : Path.Combine(Environment.CurrentDirectory, path);
    }
}
