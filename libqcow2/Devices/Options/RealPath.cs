using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices.Options;

/// <summary>realpath(3).</summary>
internal static class RealPath
{
    /// <summary>The path without symbolic links; the path itself where it cannot be resolved.</summary>
    public static string Of(string path) => Unistd.RealPath(path) ?? path;
}
