using System;
using System.Buffers.Binary;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Image.Bitmaps;

/// <summary>
/// Each byte of each bitmap structure is made wrong: the disk is served all the same, nothing but bitmaps is written where they say
/// they are, and a bitmap that is still valid after a write has the bit of that write.
/// </summary>
public sealed class DamagedBitmapTests : IDisposable
{
    private readonly Qcow2Blk.Tests.Shared.TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(0xff)]
    [InlineData(0x80)]
    [InlineData(0x01)]
    public void One_byte_wrong_in_directory_or_table_hurts_no_data(byte flip)
    {
        var path = _directory.File("image.qcow2");
        Qemu.Img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", path, "4M");
        Qemu.Img("bitmap", "--add", "-g", "4096", path, "a");
        Qemu.Img("bitmap", "--add", "-g", "4096", path, "b");
        Qemu.Io(path, "write -P 1 0 1M");
        var image = new ImageBytes(path);
        var extension = image.Header.Bitmaps!;
        var start = (int)extension.DirectoryOffset.Value;
        var entries = BitmapDirectory.Parse(image.Bytes.AsSpan(start, extension.DirectorySize), extension, image.Header);
        int[] places =
        [
            .. Enumerable.Range(start, extension.DirectorySize),
            .. entries.SelectMany(entry => Enumerable.Range((int)entry.TableOffset.Value, entry.TableSize * 8)),
        ];
        foreach (var place in places)
        {
            var bytes = (byte[])image.Bytes.Clone();
            bytes[place] ^= flip;
            Serve(bytes, $"byte 0x{place:x}");
        }
    }

    [Fact]
    public void Bitmap_whose_data_lies_in_a_table_of_the_image_is_not_written()
    {
        var path = _directory.File("image.qcow2");
        Qemu.Img("create", "-q", "-f", "qcow2", "-o", "cluster_size=4096", path, "4M");
        Qemu.Img("bitmap", "--add", "-g", "4096", path, "a");
        Qemu.Io(path, "write -P 1 0 1M");
        var image = new ImageBytes(path);
        var entry = BitmapDirectory.Parse(
            image.Bytes.AsSpan((int)image.Header.Bitmaps!.DirectoryOffset.Value, image.Header.Bitmaps.DirectorySize),
            image.Header.Bitmaps, image.Header)[0];
        BinaryPrimitives.WriteInt64BigEndian(image.Bytes.AsSpan((int)entry.TableOffset.Value), image.Header.L1TableOffset.Value);
        Serve(image.Bytes, "table entry that is the L1 table", expected: "inconsistent");
    }

    private static void Serve(byte[] bytes, string what, string? expected = null)
    {
        var content = new SparseBytes();
        content.Write(0, bytes);
        using var loop = new SimulatedLoop(1);
        var storage = new MemoryStorage(loop, content);
        loop.Run(async () =>
        {
            var image = await Qcow2Image.OpenAsync(storage, new ImageOptions { Report = BrokenRule.Refuse }, null);
            using var buffer = new TableBuffer(65536);
            buffer.Take(65536).Span.Fill(7);
            Assert.Equal(0, await image.WriteAsync(2 << 20, buffer.Take(65536), forceUnitAccess: true));
            foreach (var listed in image.Bitmaps.Listed)
            {
                if (expected is not null)
                    Assert.Equal(expected, listed.State);
                if (listed.IsKept)
                    Assert.True(image.FindBitmap(listed.Entry.Name)!.RunAt(2 << 20, 1).IsDirty, $"{what}: the write is not recorded");
            }

            Assert.Equal(0, await image.ReadAsync(0, buffer.Take(65536)));
            Assert.True(!buffer.Span.ContainsAnyExcept((byte)1), $"{what}: the disk reads otherwise");
            Assert.Equal(0, await image.CloseAsync());
            return 0;
        });
    }
}
