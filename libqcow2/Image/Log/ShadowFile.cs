using System.IO;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Image.Log;

/// <summary>The file beside a recovery log that has the bits of those bitmaps that record.</summary>
internal static class ShadowFile
{
    /// <param name="log">the path of the recovery log</param>
    public static string PathOf(string log) => log + ".bitmaps";

    /// <summary>Whether a dead server left bits there.</summary>
    public static bool Exists(string log) => File.Exists(PathOf(log));

    public static void Remove(string log) => _ = Unistd.Unlink(PathOf(log));
}
