using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image.Snapshots;

/// <summary>
/// One byte of a snapshot table is wrong, whichever: what is done with snapshots then is refused and leaves everything as it was, or is
/// done; the disk is what it was, and an image that was sound but for that is sound.
/// </summary>
public sealed class DamagedSnapshotTableTests
{
    private const string Options = "cluster_size=4k";

    // The table of two snapshots as qemu writes them.
    private const int TableBytes = 160;

    private static readonly Lazy<SparseBytes> s_sound = new(() => OneImage.Make(Options, "1M", static image =>
    {
        foreach (var name in (string[])["first", "second"])
        {
            Qemu.Img("snapshot", "-c", name, image);
            Qemu.Io(image, "write -P 7 64k 32k");
        }
    }, "write -P 1 0 128k", "write -P 2 512k 64k"));

    public static TheoryData<string, byte> Damages() => new(
        from operation in (string[])["create", "delete", "revert"] from bits in (byte[])[0x01, 0x80, 0xff] select (operation, bits));

    [Theory]
    [MemberData(nameof(Damages))]
    public void Edit_is_refused_or_leaves_a_sound_image(string operation, byte bits)
    {
        var done = 0;
        for (var at = 0; at < TableBytes; at++)
        {
            var damaged = Damage(at, bits);
            var before = BytesChecker.Check(damaged);
            if (TryEdit(operation, damaged, $"{operation}, byte {at} ^ 0x{bits:x}", out var after) && before.IsClean)
            {
                done++;
                Assert.True(after.IsClean, after.IsClean ? "" : $"{operation}, byte {at} ^ 0x{bits:x}: {after.Findings[0].Message}");
            }
        }

        // A wrong letter in a name hurts nobody.
        Assert.True(done > 10, $"{done} of {TableBytes} were done");
    }

    private static SparseBytes Damage(int at, byte bits)
    {
        var damaged = s_sound.Value.Copy();
        Span<byte> field = stackalloc byte[sizeof(long)];
        damaged.Read(HeaderField.SnapshotsOffset, field);
        var place = BinaryPrimitives.ReadInt64BigEndian(field) + at;
        damaged.Read(place, field[..1]);
        field[0] ^= bits;
        damaged.Write(place, field[..1]);
        return damaged;
    }

    /// <returns>whether it was done</returns>
    private static bool TryEdit(string operation, SparseBytes damaged, string what, out CheckResult after)
    {
        var errors = BytesChecker.Check(damaged).Errors;
        var succeeded = false;
        try
        {
            using var one = new OneImage(damaged, report: static _ => { });
            var active = operation == "revert" ? null : Contents(one);
            var answer = operation switch
            {
                "create" => one.Create("third"),
                "delete" => one.Delete("1"),
                _ => one.Revert("1"),
            };
            succeeded = answer.Succeeded;
            if (active is not null)
                Assert.True(active.SequenceEqual(Contents(one)), $"{what}: the disk is another one");
            if (!succeeded)
                Assert.NotEmpty(answer.Why!);
            one.Loop.Run(one.Image.CloseAsync);
            damaged = one.Storage.Content;
        }
        catch (ImageFormatException refusal)
        {
            Assert.NotEmpty(refusal.Why);
        }

        after = BytesChecker.Check(damaged);
        Assert.True(succeeded || after.Errors <= errors, $"{what}: refused, and has {after.Errors} errors, not {errors}");
        return succeeded;
    }

    private static IEnumerable<bool> Contents(OneImage one) =>
        [one.Expect(0, 64 << 10, 1) == 0, one.Expect(64 << 10, 32 << 10, 7) == 0, one.Expect(96 << 10, 32 << 10, 1) == 0,
            one.Expect(512 << 10, 64 << 10, 2) == 0];
}
