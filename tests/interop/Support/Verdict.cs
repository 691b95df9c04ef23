using System;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>qemu-img as the judge of an image that we closed, or left.</summary>
internal static class Verdict
{
    /// <summary>No error and no leak.</summary>
    public static void Clean(string image)
    {
        (var errors, var leaks, var report) = Check(image);
        Assert.True(errors == 0 && leaks == 0, report);
    }

    /// <summary>No error; leaks are what a crash may leave.</summary>
    public static void Sound(string image)
    {
        (var errors, _, var report) = Check(image);
        Assert.True(errors == 0, report);
    }

    /// <summary>The disk in a qcow2 image is that of a raw file.</summary>
    public static void SameDisk(string raw, string image) =>
        Run.QemuImg("compare", "-f", "raw", "-F", "qcow2", raw, image);

    private static (long Errors, long Leaks, string Report) Check(string image)
    {
        var outcome = Run.Program("qemu-img", "check", "--output=json", "-f", "qcow2", image);
        var report = $"exit {outcome.Status}\n{outcome.Errors}{outcome.Output}";
        Assert.True(outcome.Status is 0 or 2 or 3, report);
        var root = JsonDocument.Parse(outcome.Output).RootElement;
        return (Count(root, "corruptions") + Count(root, "check-errors"), Count(root, "leaks"), report);
    }

    private static long Count(JsonElement root, string name) => root.TryGetProperty(name, out var value) ? value.GetInt64() : 0;
}
