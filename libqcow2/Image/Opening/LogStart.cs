using System.IO;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Image.Map;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Opening;

/// <summary>The recovery log at the start of an image: what a dead server left, then the image's own.</summary>
internal static class LogStart
{
    /// <summary>The log of a dead server, if it is to be replayed. Before anything is changed in the file, by a repair too.</summary>
    /// <exception cref="IOException">it cannot be replayed, or not be read</exception>
    public static RecoveryLog? OpenLeft(IBlockStorage file, Header header, ImageOptions options)
    {
        if (options is not { RecoveryLog: { } path, Replay: true })
            return null;
        var log = RecoveryLog.Open(path, LogIdentities.Of(file, header));
        if (log is null || (header.Incompatible & IncompatibleFeatures.Dirty) == 0)
            return log;
        log.Dispose();
        throw new RecoveryLogException($"{path}: another program wrote the image since its server died, and did not close it (dirty bit)");
    }

    /// <summary>Begins to log, after the log of a dead server was replayed or given up. Before the first request.</summary>
    /// <param name="context">the image, which has the log from now on</param>
    /// <param name="options">whether it has one, and where</param>
    /// <param name="map">where guest clusters are</param>
    /// <param name="replay">of this image</param>
    /// <param name="left">what <see cref="OpenLeft"/> found; the image's from now on</param>
    /// <returns>0, or a negative errno</returns>
    /// <exception cref="IOException">the log cannot be made, or does not fit this image: nothing was changed</exception>
    public static async LoopTask<int> RunAsync(
        ImageContext context, ImageOptions options, GuestMap map, LogReplay replay, RecoveryLog? left)
    {
        if (options.RecoveryLog is not { } path)
            return 0;
        if (options.DiscardLog && await DiscardAsync(context.File, options, path) is var refused and < 0)
            return refused;
        if (left is not null)
            return await replay.RunAsync(left);
        var log = RecoveryLog.Create(path, LogIdentities.Of(context.File, context.Header));
        log.Begin(map.Tables.L1);
        context.Log = log;
        return 0;
    }

    /// <summary>The image is to be used as it is: then it must be sound as it is.</summary>
    /// <exception cref="IOException">it is not; the log is kept</exception>
    private static async LoopTask<int> DiscardAsync(IBlockStorage file, ImageOptions options, string path)
    {
        var count = RecoveryLogFile.CountOf(path);
        if (count == 0)
            return 0;
        var check = await ImageCheck.RunAsync(file, CheckMode.Report, options.Progress);
        if (check.ReadError < 0)
            return check.ReadError;
        if (check.Stopped is not null || check.Errors + check.CheckErrors > 0)
        {
            throw new IOException($"{file.Path} has {check.Errors} errors as it is ({check.Stopped ?? check.Findings[0].Message});"
                + $" {path} was kept: repair the image, then discard the log");
        }

        options.Report?.Invoke($"{file.Path}: discarded {count} changes that its last server had not committed;"
            + " the image as it is has no errors");
        return 0;
    }
}
