using System;
using System.Buffers.Binary;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>Headers with fields at their borders: we never do anything but accept or refuse, and we agree with qemu-img.</summary>
public sealed class HeaderFuzzTests
{
    private const int SeedsForQemu = 120;
    private const int SeedsForUs = 100_000;

    private static readonly (int Offset, int Length)[] s_fields =
    [
        (HeaderField.Version, 4), (HeaderField.BackingFileOffset, 8), (HeaderField.BackingFileSize, 4),
        (HeaderField.ClusterBits, 4), (HeaderField.Size, 8), (HeaderField.CryptMethod, 4), (HeaderField.L1Size, 4),
        (HeaderField.L1TableOffset, 8), (HeaderField.RefcountTableOffset, 8), (HeaderField.RefcountTableClusters, 4),
        (HeaderField.SnapshotCount, 4), (HeaderField.SnapshotsOffset, 8), (HeaderField.IncompatibleFeatures, 8),
        (HeaderField.CompatibleFeatures, 8), (HeaderField.AutoclearFeatures, 8), (HeaderField.RefcountOrder, 4),
        (HeaderField.HeaderLength, 4), (HeaderField.CompressionType, 1), (112, 4), (116, 4),
    ];

    private static readonly ulong[] s_borders =
    [
        0, 1, 2, 3, 4, 6, 7, 8, 9, 16, 21, 22, 72, 104, 112, 120, 128, 129, 511, 512, 1023, 1024, 4096, 65535, 65536, 65537, 0x20000,
        0x30000,
        1 << 20, (1 << 22) - 1, 1 << 22, (1 << 22) + 1, 1u << 31, uint.MaxValue, 1ul << 55, (1ul << 56) - 65536, 1ul << 56,
        1ul << 61, (1ul << 61) + 1, 1ul << 63, ulong.MaxValue - 65535, ulong.MaxValue,
    ];

    [Fact]
    public void Verdict_is_qemus_verdict_or_a_stricter_one_that_we_chose()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Create(path, "1M");
        var image = new ImageBytes(path);
        var good = image.Bytes;
        var refused = 0;

        for (var seed = 0; seed < SeedsForQemu; seed++)
        {
            image.Bytes = Mutated(good, seed);
            image.Save();
            var qemu = QemuImg.Try("info", "-f", "qcow2", path);
            var ours = Record.Exception(() => image.Header) as ImageFormatException;
            refused += ours is null ? 0 : 1;

            if (qemu.ExitCode != 0 && ours is null)
                Assert.True(image.Header.SnapshotCount > 0, $"seed {seed}: only qemu refuses: {qemu.Error}");
            if (qemu.ExitCode == 0 && ours is not null)
                Assert.True(StricterByChoice(ours), $"seed {seed}: only we refuse: {ours.Message}");
        }

        Assert.InRange(refused, SeedsForQemu / 4, SeedsForQemu - 10);
    }

    /// <summary>What "qemu-img info" lets pass: header lengths the specification forbids, names we could not pass on unchanged, offsets no
    /// table entry can hold, data files it does not open.</summary>
    private static bool StricterByChoice(ImageFormatException refusal) => refusal.Field switch
    {
        "backing_file_name" or "data_file" => true,
        "header_length" => refusal.Message.Contains("not a multiple of 8"),
        "backing_file_offset" => refusal.Message.Contains("inside the header"),
        "autoclear_features" => refusal.Message.Contains("raw external data"),
        "header_extension" => refusal.Message.Contains("twice"),
        "l1_table_offset" or "refcount_table_offset" or "snapshots_offset" => refusal.Message.Contains("56 bits"),
        _ => false,
    };

    [Trait("Speed", "slow")]
    [Fact]
    public void Whatever_the_bytes_a_header_is_accepted_or_refused_and_never_trips_us()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk.qcow2");
        QemuImg.Run("create", "-q", "-u", "-f", "qcow2", "-o", "cluster_size=512,compat=1.1", "-b", "base.raw", "-F", "raw", path, "1M");
        byte[] good = [.. new ImageBytes(path).Bytes.Take(2048)];
        var accepted = 0;

        for (var seed = 0; seed < SeedsForUs; seed++)
        {
            var bytes = Mutated(good, seed);
            var random = new Random(seed);
            if (random.Next(4) == 0)
                random.NextBytes(bytes.AsSpan(random.Next(bytes.Length - 8), 8));
            if (random.Next(8) == 0)
                bytes = bytes[..random.Next(bytes.Length)];

            var outcome = Record.Exception(() =>
            {
                var header = Header.Parse(bytes, "x");
                accepted++;
                header.CheckAgainstFile(bytes.Length);
                header.RefuseUnsupported(forWriting: true);
                _ = new Geometry(header);
            });

            Assert.True(outcome is null or ImageFormatException, $"seed {seed}: {outcome}");
        }

        Assert.InRange(accepted, SeedsForUs / 20, SeedsForUs);
    }

    private static byte[] Mutated(byte[] good, int seed)
    {
        var random = new Random(seed);
        byte[] bytes = [.. good];
        Span<byte> value = stackalloc byte[8];
        for (var changes = random.Next(1, 3); changes > 0; changes--)
        {
            (var offset, var length) = s_fields[random.Next(s_fields.Length)];
            BinaryPrimitives.WriteUInt64BigEndian(value, s_borders[random.Next(s_borders.Length)]);
            value[(8 - length)..].CopyTo(bytes.AsSpan(offset));
        }

        return bytes;
    }
}
