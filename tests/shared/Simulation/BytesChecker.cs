using System;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared.Checker;

namespace Qcow2Blk.Tests.Shared.Simulation;

/// <summary>Checks bytes that are at hand (a file in memory, a crash image), without a loop.</summary>
internal static class BytesChecker
{
    public static CheckResult Check(IImageBytes image, string path = "image")
    {
        ArgumentNullException.ThrowIfNull(image);
        using var storage = new ImageBytesStorage(image, path);
        var task = ImageChecker.CheckAsync(storage);
        if (!task.IsCompleted)
            throw new InvalidOperationException("a check of bytes in memory did not end at once");
        return task.GetAwaiter().GetResult();
    }
}
