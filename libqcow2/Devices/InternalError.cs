using System;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices;

/// <summary>A bug, in a process that must go on.</summary>
internal static class InternalError
{
    /// <summary>Tells of it. What is in memory may be wrong, so nothing of it is written any more.</summary>
    /// <param name="error">that nobody awaited</param>
    /// <param name="disk">what may be wrong; null if none is open</param>
    /// <param name="log">told of it</param>
    public static void Contain(Exception error, IDisk? disk, ILog log)
    {
        log.Error($"internal error: {error.GetType().Name}: {error.Message} (please report this)");
        (disk as Qcow2Image)?.Distrust(error);
    }
}
