using System.IO;

namespace Qcow2Blk.Image.Log;

/// <summary>A recovery log cannot be replayed: neither it nor the image was changed.</summary>
internal sealed class RecoveryLogException(string message) : IOException(message)
{
    /// <summary>The way on that there always is.</summary>
    public static string Hint =>
        "restore the image as it was, or use --discard-log to open it as it is, without what its last server had not committed";
}
