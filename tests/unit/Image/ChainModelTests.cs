using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>
/// Chains by chance: cluster sizes, lengths, raw bases, data, zeroes and holes in every image. What is read, and which
/// image is said to decide, is what the images' own tables say by the letter of the specification.
/// </summary>
public sealed class ChainModelTests
{
    private const int Largest = 1 << 19;

    private static readonly int[] s_clusters = [512, 4096, 65536];
    private static readonly Dictionary<int, SparseBytes> s_empty = [];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(7)]
    [InlineData(8)]
    [InlineData(9)]
    [InlineData(12)]
    public void Every_way_to_look_at_a_chain_agrees_with_its_images(int seed)
    {
        using var loop = new SimulatedLoop(seed);
        var files = new List<File>();
        var model = Array.Empty<byte>();
        for (var count = 2 + (seed % 5); count > 0; count--)
        {
            var size = 512 * loop.Random.Next(128, Largest / 512);
            Array.Resize(ref model, size);
            files.Insert(0, Make(loop, files, size, isRaw: files.Count == 0 && seed % 3 == 0, model));
        }

        var top = Open(loop, files, 0, write: false);
        Assert.Equal(model.Length, top.Size);
        for (var i = 0; i < 60; i++)
            AssertRange(loop, top, files, model);
        Assert.Equal(0, loop.Run(top.CloseAsync));
    }

    private static void AssertRange(SimulatedLoop loop, IDisk top, List<File> files, byte[] model)
    {
        var offset = loop.Random.Next(model.Length);

        // The end of a shorter image is where the mistakes are.
        if (loop.Random.Next(2) == 0)
            offset = (int)Math.Clamp(files[loop.Random.Next(files.Count)].Size - loop.Random.Next(5000), 0, model.Length - 1);
        var length = Math.Min(model.Length - offset, 1 + loop.Random.Next(loop.Random.Next(2) == 0 ? 2000 : 200000));
        var expected = model.AsSpan(offset, length);
        using var buffer = new TableBuffer(length);
        buffer.Span.Fill(0xEE);
        Assert.Equal(0, loop.RunUntilComplete(top.ReadAsync(offset, buffer.Take(length))));
        Assert.True(expected.SequenceEqual(buffer.Span[..length]), $"read of {length} at {offset}");

        var extent = loop.RunUntilComplete(top.MapAsync(offset, length));
        Assert.Equal(0, extent.Error);
        Assert.InRange(extent.Length, 1, length);
        if (extent.IsZero)
            Assert.False(expected[..(int)extent.Length].ContainsAnyExcept((byte)0), $"zeroes of {extent.Length} at {offset}");
        foreach (var at in new[] { offset, offset + extent.Length / 2, offset + extent.Length - 1 })
            Assert.Equal(DepthAt(files, at), extent.Depth);

        if (top.TryMapZeroes(offset, length))
            Assert.False(expected.ContainsAnyExcept((byte)0), $"known zeroes of {length} at {offset}");
        if (!top.TryMapRead(offset, length, out var mapped))
            return;
        Assert.Equal(0, loop.RunUntilComplete(mapped.File.ReadAsync(mapped.Offset, buffer.Take(length))));
        Assert.True(expected.SequenceEqual(buffer.Span[..length]), $"direct read of {length} at {offset}");
    }

    /// <summary>An image over the others, changed by chance; the model, which holds what is below it, is changed with it.</summary>
    private static File Make(SimulatedLoop loop, List<File> below, int size, bool isRaw, byte[] model)
    {
        if (isRaw)
        {
            loop.Random.NextBytes(model);
            var raw = new SparseBytes();
            raw.Write(0, model);
            return new File(raw, IsRaw: true);
        }

        var made = new File(Empty(s_clusters[loop.Random.Next(s_clusters.Length)], size), IsRaw: false);
        below.Insert(0, made);
        var disk = Open(loop, below, 0, write: true);
        for (var changes = loop.Random.Next(8); changes > 0; changes--)
            Change(loop, disk, model);
        Assert.Equal(0, loop.Run(disk.CloseAsync));
        below.RemoveAt(0);
        return made;
    }

    private static void Change(SimulatedLoop loop, IDisk disk, byte[] model)
    {
        var offset = loop.Random.Next(model.Length);
        var length = Math.Min(model.Length - offset, 1 + loop.Random.Next(loop.Random.Next(2) == 0 ? 600 : 30000));
        var range = model.AsSpan(offset, length);
        if (loop.Random.Next(3) == 0)
        {
            range.Clear();
            Assert.Equal(0, loop.RunUntilComplete(disk.WriteZeroesAsync(offset, length, ZeroFlags.MayUnmap)));
            return;
        }

        loop.Random.NextBytes(range);
        using var buffer = new TableBuffer(length);
        range.CopyTo(buffer.Span);
        Assert.Equal(0, loop.RunUntilComplete(disk.WriteAsync(offset, buffer.Take(length), forceUnitAccess: false)));
    }

    private static IDisk Open(SimulatedLoop loop, List<File> files, int first, bool write)
    {
        IDisk? below = null;
        for (var index = files.Count - 1; index >= first; index--)
        {
            var readOnly = index > first || !write;
            var storage = new MemoryStorage(loop, files[index].Bytes, readOnly: readOnly) { Path = $"{index}" };
            below = files[index].IsRaw
                ? new RawDisk(storage, readOnly)
                : loop.RunUntilComplete(Qcow2Image.OpenAsync(storage, new ImageOptions { ReadOnly = readOnly }, below));
        }

        return below!;
    }

    /// <summary>The depth of <c>qemu:allocation-depth</c>, from the tables in the files.</summary>
    private static int DepthAt(List<File> files, long offset)
    {
        for (var depth = 1; depth <= files.Count; depth++)
        {
            var file = files[depth - 1];
            if (depth > 1 && offset >= file.Size)
                return depth;
            if (file.IsRaw || file.Holds(offset))
                return depth;
        }

        return 0;
    }

    private static SparseBytes Empty(int cluster, int size)
    {
        lock (s_empty)
        {
            if (!s_empty.ContainsKey(cluster))
                s_empty.Add(cluster, OneImage.Make($"cluster_size={cluster}", $"{Largest}"));
            var image = s_empty[cluster].Copy();
            Span<byte> field = stackalloc byte[8];
            BinaryPrimitives.WriteInt64BigEndian(field, size);
            image.Write(HeaderField.Size, field);
            return image;
        }
    }

    private sealed record File(SparseBytes Bytes, bool IsRaw)
    {
        public long Size => IsRaw ? Bytes.Length : Word(HeaderField.Size);

        /// <summary>Whether the image has anything for that byte: a cluster, compressed or not, or the word that it is zero.</summary>
        public bool Holds(long offset)
        {
            var bits = (int)(Word(HeaderField.ClusterBits - 4) & 63);
            var table = Word(Word(HeaderField.L1TableOffset) + (offset >> (bits + bits - 3) << 3)) & 0x00FFFFFFFFFFFE00;
            return table != 0 && Word(table + (offset >> bits << 3 & ((1L << bits) - 1))) != 0;
        }

        private long Word(long offset)
        {
            Span<byte> word = stackalloc byte[8];
            Bytes.Read(offset, word);
            return BinaryPrimitives.ReadInt64BigEndian(word);
        }
    }
}
