using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image.Check;

/// <summary>Damaged images of every kind: our check finds what qemu's finds, number by number.</summary>
public sealed class DamagedImagesTests
{
    /// <summary>How many damaged images of each kind there are; more with this variable (make test-check).</summary>
    private static readonly int s_rounds = int.Parse(Environment.GetEnvironmentVariable("QCOW2BLK_CHECK_ROUNDS") ?? "4");

    public static IEnumerable<TheoryDataRow<string>> Matrix => CheckedImages.Options.Select(options => new TheoryDataRow<string>(options));

    [Theory]
    [MemberData(nameof(Matrix))]
    public void Check_finds_what_qemu_finds(string options)
    {
        using var directory = new TempDirectory();
        var image = CheckedImages.Make(directory, options);
        var damage = new StructuredDamage(File.ReadAllBytes(image));
        var random = new Random(options.Sum(letter => letter * 31));
        var mismatches = new List<string>();
        for (var round = 0; round < s_rounds; round++)
        {
            var (bytes, what) = damage.Apply(random);
            File.WriteAllBytes(image, bytes);
            var (expected, report) = CheckNumbers.OfQemu(CheckedImages.Open(image, options));

            var found = Check(image, out var words);

            if (expected != found && QemuExceptions.OfCheck(bytes) is null)
                mismatches.Add($"round {round}: {what}\n  qemu {expected}\n  ours {found}\n{words}\n{report}");
        }

        Assert.True(mismatches.Count == 0, string.Join("\n\n", mismatches));
    }

    [Theory]
    [MemberData(nameof(Matrix))]
    public void Repair_ends_as_with_qemu(string options)
    {
        using var directory = new TempDirectory();
        var image = CheckedImages.Make(directory, options);
        StructuredDamage[] damages = [CheckedImages.WithoutBitmaps(image, options), CheckedImages.WithoutSnapshots(image, options)];
        var random = new Random(options.Sum(letter => letter * 17));
        var (theirs, ours) = (directory.File("theirs.qcow2"), directory.File("ours.qcow2"));
        var mismatches = new List<string>();
        for (var round = 0; round < s_rounds; round++)
        {
            var (bytes, what) = damages[round % damages.Length].Apply(random);
            var mode = round % 3 == 0 ? CheckMode.Leaks : CheckMode.All;
            File.WriteAllBytes(theirs, bytes);
            var (expected, report) = CheckNumbers.OfQemu(
                CheckedImages.Open(theirs, options), "-r", mode == CheckMode.All ? "all" : "leaks");

            File.WriteAllBytes(image, bytes);
            var found = Repair(image, ours, mode, out var words);

            if (found.Exit == 1 && !File.ReadAllBytes(ours).AsSpan().SequenceEqual(bytes))
                mismatches.Add($"round {round}: {mode}: {what}: gave up, and left the image changed: {words}");
            if (QemuExceptions.OfRepair(bytes, report) is not null)
                continue;
            var difference = expected.Exit == 1 ? GaveUp(found, ours, options) : Difference(expected, found, report, theirs, ours, options);
            if (difference is not null)
                mismatches.Add($"round {round}: {mode}: {what}\n  {difference}\n  qemu {expected}\n  ours {found}\n{words}\n{report}");
        }

        Assert.True(mismatches.Count == 0, string.Join("\n\n", mismatches));
    }

    /// <summary>Where qemu gives up, with the image half repaired at times, we may give up and leave it alone, or repair it.</summary>
    private static string? GaveUp(CheckNumbers found, string ours, string options)
    {
        if (found.Exit == 1)
            return null;
        var (after, report) = CheckNumbers.OfQemu(CheckedImages.Open(ours, options));
        return after.Exit == found.Exit ? null : $"qemu gave up, and finds in ours {report}";
    }

    private static string? Difference(CheckNumbers expected, CheckNumbers found, string report, string theirs, string ours, string options)
    {
        var isLenient = report.Contains("snapshot table entry", StringComparison.Ordinal);
        if (!isLenient && Comparable(expected) != Comparable(found))
            return "the numbers differ";
        var (after, _) = CheckNumbers.OfQemu(CheckedImages.Open(theirs, options));
        var (afterOurs, words) = CheckNumbers.OfQemu(CheckedImages.Open(ours, options));
        if (Comparable(afterOurs) != Comparable(found) with { CorruptionsFixed = 0, LeaksFixed = 0 })
            return $"we think that we left something else than qemu finds: {words}";

        // Where qemu leaves more errors than it says, ours may be better.
        if (afterOurs.Corruptions > after.Corruptions && expected.Exit == 0)
            return $"qemu finds {after} in its own, and in ours {words}";
        if (after.Exit is not (0 or 3) || afterOurs.Exit is not (0 or 3) || CheckedImages.IsEncrypted(options))
            return null;
        var (exit, output, errors) = Qemu.Run("qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", theirs, ours);
        return exit != 1 ? null : $"the contents differ: {output}{errors}";
    }

    /// <summary>New refcounts may be anywhere, and qemu counts what it repaired in 32 bits.</summary>
    private static CheckNumbers Comparable(CheckNumbers numbers) =>
        numbers with { End = 0, CorruptionsFixed = (int)numbers.CorruptionsFixed, LeaksFixed = (int)numbers.LeaksFixed };

    private static CheckNumbers Repair(string image, string into, CheckMode mode, out string words)
    {
        using var loop = new SimulatedLoop(1);
        using var storage = new MemoryStorage(loop, SparseBytes.FromFile(image)) { Path = image };
        try
        {
            CheckResult? result = null;
            loop.Run(async () =>
            {
                result = await ImageCheck.RunAsync(storage, mode);
                return 0;
            });
            words = result!.Stopped + string.Join("\n", result.Findings.Take(10).Select(finding => finding.Message));
            return CheckNumbers.Of(result);
        }
        catch (ImageFormatException refused)
        {
            words = refused.Message;
            return CheckNumbers.Stopped;
        }
        finally
        {
            storage.Content.Save(into);
        }
    }

    private static CheckNumbers Check(string image, out string words)
    {
        using var storage = new ImageBytesStorage(SparseBytes.FromFile(image), image);
        try
        {
            var result = ImageCheck.RunAsync(storage, CheckMode.Report).GetAwaiter().GetResult();
            words = result.Stopped + string.Join("\n", result.Findings.Take(10).Select(finding => finding.Message));
            return CheckNumbers.Of(result);
        }
        catch (ImageFormatException refused)
        {
            words = refused.Message;
            return CheckNumbers.Stopped;
        }
    }
}
