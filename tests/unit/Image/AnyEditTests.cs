using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Tests.Image.Model;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>
/// Any edit by qemu between the death of a server, at any moment, and the recovery of its device is noticed, and then nothing
/// is changed, or harmless: what was edited and what was answered are both there, in an image without errors.
/// </summary>
public sealed class AnyEditTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    /// <summary>By what an edit can be noticed.</summary>
    public enum Witness
    {
        /// <summary>qemu clears the mark; version 3.</summary>
        Mark,

        /// <summary>The edit comes a while later; version 2.</summary>
        Clock,

        /// <summary>Only by the tables: the mark is put back, the edit came at once. No commit had begun.</summary>
        Proofs,
    }

    [Trait("Speed", "slow")]
    [Theory]
    [InlineData("clusters of 65536 with snapshot", Witness.Mark)]
    [InlineData("clusters of 65536 with snapshot", Witness.Proofs)]
    [InlineData("clusters of 4096, refcounts of 8 bits", Witness.Proofs)]
    [InlineData("over a longer base", Witness.Mark)]
    [InlineData("over a longer base", Witness.Proofs)]
    [InlineData("zlib with snapshot", Witness.Proofs)]
    [InlineData("version 2, clusters of 512", Witness.Clock)]
    [InlineData("version 2, clusters of 512", Witness.Proofs)]
    public void Edit_is_noticed_or_harmless(string name, Witness witness)
    {
        var subject = ModelImage.Get(name);
        var outcomes = new List<string>();
        for (var number = 0; number < Edits.Count; number++)
        {
            var (kind, edit, leavesNoTrace) = Edits[number];
            var scene = Killed(subject, number + 1, needsQuiet: witness == Witness.Proofs);
            if (leavesNoTrace && witness == Witness.Proofs)
                continue;
            var random = new Random(number);
            if (Edit(subject, scene, path => edit(path, random, subject.Content.Length)) is not { } edited)
                continue; // qemu refuses it for this image
            if (witness == Witness.Proofs)
                PutMark(edited.Content, scene.Content);
            outcomes.Add($"{kind}: {Recover(subject, scene, edited, kind, later: witness == Witness.Clock)}");
        }

        // Otherwise the test would say nothing.
        Assert.True(outcomes.Count >= 8, string.Join(", ", outcomes));
        Assert.Contains(outcomes, outcome => outcome.EndsWith("noticed", StringComparison.Ordinal));
        if (witness != Witness.Proofs)
            Assert.All(outcomes, outcome => Assert.EndsWith("noticed", outcome, StringComparison.Ordinal));
    }

    /// <summary>What qemu does to the image; the range that reads as its pattern after, or none.</summary>
    private delegate (int Start, int Length, byte Value) EditOf(string path, Random random, int size);

    /// <summary>LeavesNoTrace: the tables may be as before, but not what they point to.</summary>
    private static IReadOnlyList<(string Kind, EditOf Edit, bool LeavesNoTrace)> Edits { get; } =
    [
        ("write", (path, random, size) => Io(path, random, size, "write -P 201"), false),
        ("large write", (path, _, size) => Io(path, 0, size / 2, 201, "write -P 201"), false),
        ("write at the end", (path, _, size) => Io(path, size * 3 / 4 / 512 * 512, size / 8 / 512 * 512, 201, "write -P 201"), false),
        ("zeroes", (path, random, size) => Io(path, random, size, "write -z", 0), true),
        ("discard", (path, random, size) => Io(path, random, size, "discard", 0, promises: false), false),
        ("compressed write", (path, _, _) => Io(path, 512 << 10, 64 << 10, 201, "write -c -P 201"), false),
        ("write and discard", (path, _, size) => Io(path, 0, size / 2, 0, "write -P 201", "discard"), true),
        ("snapshot", (path, _, _) => Img(path, "snapshot", "-c", "since"), false),
        ("snapshot made and deleted", (path, _, _) =>
        {
            Img(path, "snapshot", "-c", "since");
            return Img(path, "snapshot", "-d", "since");
        }, true),
        ("snapshot applied", (path, _, _) => Img(path, "snapshot", "-a", "first"), false),
        ("snapshot deleted", (path, _, _) => Img(path, "snapshot", "-d", "first"), false),
        ("resize", (path, _, _) => Img(path, "resize", "-q", "-f", "qcow2", path, "+1M"), false),
        ("amend", (path, _, _) => Img(path, "amend", "-f", "qcow2", "-o", "lazy_refcounts=on"), false),
        ("rebase", (path, _, _) => Img(path, "rebase", "-u", "-f", "qcow2", "-b", "", path), false),
        ("check", (path, _, _) => Img(path, "check", "-q", "-r", "all"), false),
        ("bitmap", (path, _, _) => Img(path, "bitmap", "--add", path, "b"), false),
        ("open", (path, _, _) => Io(path, 0, 512, 0, "read"), false),
    ];

    private static (int, int, byte) Io(string path, Random random, int size, string command, byte value = 201, bool promises = true)
    {
        var start = random.Next(size / 1024) * 512;
        var length = random.Next(1, 200) * 512;
        var range = Io(path, start, length, value, command);
        return promises ? range : (start, length, NoPromise);
    }

    private const byte NoPromise = 255;

    private static (int, int, byte) Io(string path, int start, int length, byte value, params string[] commands)
    {
        Qemu.Io(path, [.. commands.Select(command => $"{command} {start} {length}")]);
        return commands is ["read"] ? default : (start, length, value);
    }

    private static (int, int, byte) Img(string path, params string[] arguments)
    {
        Qemu.Img(arguments.Contains(path) ? arguments : [.. arguments, path]);
        return default;
    }

    private KilledScene Killed(ModelImage subject, int seed, bool needsQuiet)
    {
        KilledScene? scene = null;
        var moment = new Random(seed).Next(10, 80);

        // A write in place to a cluster that was zeroed, which is not committed, is seen in no table.
        var killed = new KilledServer(subject, seed, _directory) { Zeroes = !needsQuiet };
        killed.Run(requests: 40, server =>
        {
            // At that moment, or as near to it as can be.
            if ((scene is null || server.Writes <= moment) && server.HasRecords && !(needsQuiet && server.IsCommitting))
                scene = server.Scene();
        });
        return scene ?? throw new InvalidOperationException($"seed {seed} leaves nothing in the log");
    }

    private (SparseBytes Content, int Start, int Length, byte Value)? Edit(
        ModelImage subject, KilledScene scene, Func<string, (int, int, byte)> edit)
    {
        foreach (var (name, _, bytes) in subject.Files.Skip(1))
            bytes.Save(_directory.File(name));
        var path = _directory.File(subject.Files[0].Name);
        scene.Content.Save(path);
        try
        {
            var (start, length, value) = edit(path);
            return (SparseBytes.FromFile(path), start, length, value);
        }
        catch (InvalidOperationException)
        {
            return null;
        }
    }

    private string Recover(
        ModelImage subject, KilledScene scene, (SparseBytes Content, int Start, int Length, byte Value) edited, string kind, bool later)
    {
        var log = SavedLog.Save(_directory, scene.Log);
        var before = Bytes(edited.Content);
        using var loop = new SimulatedLoop(1);
        var modified = DateTimeOffset.UtcNow.AddHours(later ? 1 : 0).ToUnixTimeMilliseconds();
        var storage = new MemoryStorage(loop, edited.Content) { Modified = modified };
        try
        {
            loop.Run(async () =>
            {
                var image = await subject.OpenAsync(loop, storage, new ImageOptions { RecoveryLog = log, Replay = true });
                using var buffer = new TableBuffer((scene.Disk.Length + 4095) & ~4095);
                var whole = buffer.Take(scene.Disk.Length);
                Assert.Equal(0, await image.ReadAsync(0, whole));
                var range = whole.Span.Slice(edited.Start, edited.Length);
                if (edited.Value != NoPromise)
                {
                    Assert.False(range.ContainsAnyExcept(edited.Value),
                        $"{kind} {edited.Start} {edited.Length}: what the editor wrote no longer exists");
                }

                scene.Disk.AsSpan(edited.Start, edited.Length).CopyTo(range);
                if (scene.Judge(whole.Span) is { } wrong)
                    Assert.Fail($"{kind} {edited.Start} {edited.Length}: {wrong}");
                return await image.CloseAsync();
            });
        }
        catch (RecoveryLogException)
        {
            Assert.True(before.SequenceEqual(Bytes(edited.Content)), "the image was changed");
            Assert.Equal(scene.Log, SavedLog.Read(log));
            return "noticed";
        }

        var check = BytesChecker.Check(edited.Content);
        Assert.True(check.Errors == 0, check.Errors == 0 ? "" : check.Findings[0].Message);
        return "harmless";
    }

    private static void PutMark(SparseBytes content, SparseBytes from)
    {
        var header = Bytes(from);
        if (header[HeaderField.Version + 3] >= 3)
            content.Write(HeaderField.AutoclearFeatures, header.AsSpan(HeaderField.AutoclearFeatures, 1));
    }

    private static byte[] Bytes(SparseBytes content)
    {
        var bytes = new byte[content.Length];
        content.Read(0, bytes);
        return bytes;
    }
}
