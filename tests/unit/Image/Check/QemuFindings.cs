using System.Text.Json;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Tests.Shared;

namespace Qcow2Blk.Tests.Image.Check;

/// <summary>The numbers of a check, whoever made it.</summary>
internal sealed record CheckNumbers(int Exit, long CheckErrors, long Corruptions, long Leaks, long CorruptionsFixed, long LeaksFixed,
    long End, long Total, long Allocated, long Fragmented, long Compressed)
{
    /// <summary>What every check that ended early is: its numbers say nothing.</summary>
    public static CheckNumbers Stopped { get; } = new(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

    public static CheckNumbers Of(CheckResult result) => result.Stopped is not null ? Stopped : new CheckNumbers(
        result.CheckErrors > 0 ? 1 : result.Errors > 0 ? 2 : result.Leaks > 0 ? 3 : 0, result.CheckErrors, result.Errors, result.Leaks,
        result.ErrorsFixed, result.LeaksFixed, result.EndOffset, result.TotalClusters, result.AllocatedClusters, result.FragmentedClusters,
        result.CompressedClusters);

    /// <summary>What qemu-img check says, and all of its words.</summary>
    public static (CheckNumbers Numbers, string Report) OfQemu(string[] image, params string[] options)
    {
        var (exit, output, errors) = Qemu.Run("qemu-img", ["check", "--output=json", .. options, .. image]);
        var report = $"exit {exit}\n{errors}{output}";
        if (!output.StartsWith('{'))
            return (Stopped with { Exit = exit }, report);
        using var json = JsonDocument.Parse(output);
        var root = json.RootElement;
        return (new CheckNumbers(exit, Count("check-errors"), Count("corruptions"), Count("leaks"), Count("corruptions-fixed"),
            Count("leaks-fixed"), Count("image-end-offset"), Count("total-clusters"), Count("allocated-clusters"),
            Count("fragmented-clusters"), Count("compressed-clusters")), report);

        long Count(string name) => root.TryGetProperty(name, out var value) ? value.GetInt64() : 0;
    }
}
