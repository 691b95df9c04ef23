using System;
using System.Threading;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Devices.Takeover;

/// <summary>Brings into an image what its dead server had answered, where no other server will: the device is given up.</summary>
internal static class DeadImage
{
    /// <summary>Replays the recovery log of a device, if there is anything in it.</summary>
    /// <param name="record">the device</param>
    /// <param name="log">where its log is</param>
    /// <param name="timeout">how long all of it may take</param>
    /// <returns>null if the image holds everything now, else why not</returns>
    internal static string? Settle(DeviceRecord record, string log, TimeSpan timeout)
    {
        var hasRecords = RecoveryLog.HasRecords(log);
        if (!hasRecords && !ShadowFile.Exists(log))
            return null;
        var offload = new OffloadPool(1);
        var loop = new EventLoop(0, offload);
        var done = new ManualResetEventSlim();
        string? failure = null;
        loop.Start();
        loop.PostFromAnyThread(() => RunAsync().Forget());
        if (!done.Wait(timeout))
            return "its storage does not answer"; // The loop stays with its work; this process ends soon.
        loop.Dispose();
        offload.Dispose();

        // Bits of bitmaps alone may stay behind: those on disk have more, and are right.
        return hasRecords ? failure : null;

        async LoopTask<int> RunAsync()
        {
            try
            {
                var (disk, _) = await ImageChain.OpenAsync(record.Options, new StderrLog(LogLevel.Error),
                    new RecoveryLogChoice(log, Replay: true, OnlyImage: record.ImageIdentity), LockTimeout(record.Options, timeout));
                var error = await disk.CloseAsync();
                failure = error < 0 ? Errno.Text(error) : null;
            }
            catch (Exception error)
            {
                failure = Refusals.From(error, "replay").Why;
            }

            done.Set();
            return 0;
        }
    }

    /// <summary>The disk writes of the dead server may still be in progress.</summary>
    private static TimeSpan LockTimeout(AttachOptions options, TimeSpan timeout) =>
        options.EffectiveLockTimeout < timeout ? options.EffectiveLockTimeout : timeout;
}
