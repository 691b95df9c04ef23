using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image.Check;

/// <summary>Our checker and qemu's must say the same of the same file: clean, leaks or errors.</summary>
public sealed class CheckerAgreesWithQemuTests
{
    public static IEnumerable<TheoryDataRow<string>> Matrix => SampleImages.Options.Select(options => new TheoryDataRow<string>(options));

    [Theory]
    [MemberData(nameof(Matrix))]
    public void Image_made_by_qemu_is_clean(string options)
    {
        using var directory = new TempDirectory();
        var image = SampleImages.Make(directory, options);

        var result = BytesChecker.Check(SparseBytes.FromFile(image), image);

        Assert.Equal(Verdict.Clean, Qemu.Check(image, out _));
        Assert.True(result.IsClean, Describe(result));
        Assert.True(result.UsedClusters > 4);
    }

    [Trait("Speed", "slow")]
    [Theory]
    [MemberData(nameof(Matrix))]
    public void Damage_gets_the_same_verdict(string options)
    {
        using var directory = new TempDirectory();
        var image = SampleImages.Make(directory, options);
        var sound = File.ReadAllBytes(image);
        var damaged = directory.File("damaged.qcow2");
        var seed = options.Sum(letter => letter * 31);
        var random = new Random(seed);
        var verdicts = new Dictionary<Verdict, int>();
        for (var round = 0; round < 24; round++)
        {
            var bytes = (byte[])sound.Clone();
            var what = Damage.Apply(bytes, random);
            File.WriteAllBytes(damaged, bytes);

            var result = BytesChecker.Check(SparseBytes.FromFile(damaged), damaged);

            var expected = Qemu.Check(damaged, out var report);
            if (expected == Verdict.Clean && result.Findings.All(IsZeroFlagOfVersion2))
                continue;
            verdicts[expected] = verdicts.GetValueOrDefault(expected) + 1;
            Assert.True(expected == VerdictOf(result), $"round {round}, {what}: qemu says {expected}, we say {Describe(result)}\n{report}");
        }

        Assert.True(verdicts.GetValueOrDefault(Verdict.Errors) > 3, "the damage did not harm");
    }

    [Fact]
    public void Hostile_snapshot_and_l1_claims_end_at_the_size_of_the_file()
    {
        using var directory = new TempDirectory();
        var image = SampleImages.Make(directory, "compat=1.1,cluster_size=2M");
        var bytes = File.ReadAllBytes(image);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(36), uint.MaxValue);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(56), uint.MaxValue);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(60), 65536);
        File.WriteAllBytes(image, bytes);
        var content = SparseBytes.FromFile(image);
        var before = GC.GetAllocatedBytesForCurrentThread();

        var result = BytesChecker.Check(content, image);

        Assert.True(result.Errors > 0);
        // The claims add up to 32 GiB of L1 table and 8 PiB of refcount table.
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 128 << 20);
    }

    [Fact]
    public void File_that_is_no_image_is_refused_with_the_field()
    {
        using var directory = new TempDirectory();
        var image = SampleImages.Make(directory, "compat=1.1");
        var bytes = File.ReadAllBytes(image);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(20), 63);
        File.WriteAllBytes(image, bytes);

        var result = BytesChecker.Check(SparseBytes.FromFile(image), image);

        Assert.True(result.Unreadable);
        Assert.Contains("cluster_bits 63", result.Findings[0].Message, StringComparison.Ordinal);
        Assert.Equal(Verdict.Errors, Qemu.Check(image, out _));
    }

    /// <summary>The one thing that qemu only notices when it uses the entry.</summary>
    private static bool IsZeroFlagOfVersion2(CheckFinding finding) =>
        finding.Message.Contains("which version 2 does not know", StringComparison.Ordinal);

    private static Verdict VerdictOf(CheckResult result) =>
        result.Errors > 0 ? Verdict.Errors : result.Leaks > 0 ? Verdict.Leaks : Verdict.Clean;

    private static string Describe(CheckResult result) =>
        $"{result.Errors} errors, {result.Leaks} leaks\n" + string.Join('\n', result.Findings.Take(10).Select(finding => finding.Message));
}
