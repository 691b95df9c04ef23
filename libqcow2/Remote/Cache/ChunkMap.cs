using System;
using System.Buffers.Binary;
using System.IO;
using System.Runtime.InteropServices;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Remote.Cache;

/// <summary>
/// The file <c>map</c> of an entry: a header, a <see cref="ChunkWord"/> for each chunk, and when each segment was last used. All
/// processes see it in shared memory, and change it by writes: a write tells of a full or broken disk, memory would end the process.
/// </summary>
/// <remarks>
/// A word is changed only while its chunk is claimed (<see cref="EntryFiles.TryClaim"/>). The file has its length from the beginning
/// and never another one, so that all of the memory is there.
/// </remarks>
internal sealed class ChunkMap : IDisposable
{
    public const string FileName = "map";

    private const int Version = 1;
    private const int HashOffset = 24;

    private readonly NativeBuffer _words;

    private ChunkMap(int descriptor, ChunkLayout layout, nint address)
    {
        Descriptor = descriptor;
        Layout = layout;
        _words = new NativeBuffer(address, (int)layout.MapFileBytes);
    }

    public int Descriptor { get; }

    public ChunkLayout Layout { get; }

    private static ReadOnlySpan<byte> Magic => "qb-chunk"u8;

    /// <summary>What the map says of a chunk now. Any thread.</summary>
    public ChunkWord this[long chunk] => new(ReadAt(ChunkLayout.WordOffset(chunk)));

    /// <summary>When a segment was last used: seconds since 1970, 0 for never. A time that is yet to come is not one of ours.</summary>
    public long LastUse(int segment, long now)
    {
        const int skew = 60;
        var stamp = ReadAt(Layout.StampOffset(segment));
        return stamp <= (ulong)(now + skew) ? (long)stamp : 0;
    }

    /// <summary>Writes the words of chunks, the first of which is named.</summary>
    /// <returns>0 or a negative errno</returns>
    public int Write(long chunk, ReadOnlySpan<ulong> words) =>
        Files.WriteAll(Descriptor, MemoryMarshal.AsBytes(words), ChunkLayout.WordOffset(chunk));

    public int WriteLastUse(int segment, long now)
    {
        Span<byte> stamp = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(stamp, now);
        return Files.WriteAll(Descriptor, stamp, Layout.StampOffset(segment));
    }

    /// <summary>Bytes of the base in chunks that are stored: all, and those that are pinned. A walk over all words.</summary>
    public (long Stored, long Pinned) Count()
    {
        var (stored, pinned, chunks) = (0L, 0L, Layout.Chunks);
        for (long chunk = 0; chunk < chunks; chunk++)
        {
            var word = this[chunk];
            if (!word.IsValid)
                continue;
            stored += Layout.BytesOf(chunk);
            if (word.IsPinned)
                pinned += Layout.BytesOf(chunk);
        }

        return (stored, pinned);
    }

    /// <summary>Makes the file, with no chunk stored.</summary>
    /// <returns>0 or a negative errno</returns>
    public static int Create(CacheFolder entry, CacheLabel label)
    {
        var descriptor = entry.OpenFile(FileName, O_RDWR | O_CREAT | O_EXCL);
        if (descriptor < 0)
            return descriptor;

        // All blocks now: a write of a word then needs none.
        var result = Files.Allocate(descriptor, 0, 0, label.Layout.MapFileBytes);
        if (result == -Errno.EOPNOTSUPP)
            result = Files.Truncate(descriptor, label.Layout.MapFileBytes);
        if (result == 0)
            result = Files.WriteAll(descriptor, Header(label), 0);
        Files.Close(descriptor);
        return result;
    }

    /// <summary>Opens the file.</summary>
    /// <returns>null if it is not the map of that entry, from its header to its length</returns>
    /// <exception cref="IOException">it may be, but cannot be used</exception>
    public static ChunkMap? Open(CacheFolder entry, CacheLabel label)
    {
        var layout = label.Layout;
        var descriptor = entry.OpenFile(FileName, O_RDWR);
        if (descriptor < 0)
            return null;
        var header = new byte[ChunkLayout.HeaderBytes];
        if (Stat.OfFile(descriptor, out var status) < 0 || (long)status.stx_size != layout.MapFileBytes
            || Files.ReadAll(descriptor, header, 0) != header.Length || !header.AsSpan().SequenceEqual(Header(label)))
        {
            Files.Close(descriptor);
            return null;
        }

        var length = (nuint)layout.MapFileBytes;
        var address = CanRead(descriptor, layout.MapFileBytes) ? Files.Map(length, PROT_READ, MAP_SHARED, descriptor, 0) : 0;
        if (address == 0)
        {
            Files.Close(descriptor);
            throw new IOException($"cannot use {entry.Path}: {FileName} cannot be read, or there is no memory for it");
        }

        // A page that has to be read again from a disk that fails by then would end the process.
        _ = Files.Lock(address, length);
        return new ChunkMap(descriptor, layout, address);
    }

    public void Dispose()
    {
        Files.Unmap(_words.Address, (nuint)_words.Length);
        Files.Close(Descriptor);
    }

    private ulong ReadAt(long offset) => Volatile.Read(ref MemoryMarshal.Cast<byte, ulong>(_words.Span)[(int)(offset / sizeof(ulong))]);

    /// <summary>Whether the disk has all of it: reading it by memory must not fail.</summary>
    private static bool CanRead(int descriptor, long length)
    {
        var buffer = new byte[Math.Min(length, 1 << 20)];
        for (long offset = 0; offset < length; offset += buffer.Length)
        {
            var piece = buffer.AsSpan(0, (int)Math.Min(buffer.Length, length - offset));
            if (Files.ReadAll(descriptor, piece, offset) != piece.Length)
                return false;
        }

        return true;
    }

    /// <summary>What a map of that entry begins with: it is compared as a whole.</summary>
    private static byte[] Header(CacheLabel label)
    {
        var header = new byte[ChunkLayout.HeaderBytes];
        Magic.CopyTo(header);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(8), Version);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(12), label.ChunkBytes);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(16), label.Key.Length);
        label.Key.Hash(label.ChunkBytes).CopyTo(header, HashOffset);
        return header;
    }
}
