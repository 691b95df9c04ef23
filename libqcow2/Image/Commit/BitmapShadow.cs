using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Image.Commit;

/// <summary>
/// The bits of the bitmaps that record, beside the recovery log: a file on tmpfs, mapped shared. If the server is killed, the next one
/// has them exactly. Without it, it has those on disk, which are more and never fewer: so whatever is wrong here is no error.
/// </summary>
/// <remarks>
/// It is believed if the image is the one that it was bound to, by the identity that a recovery log has, and if the mark in the header
/// says that nobody else opened it for writing since.
/// </remarks>
internal sealed class BitmapShadow : IBitmapShadow
{
    private const ulong Magic = 0x3170_6d62_6b6c_6271; // "qblkbmp1"
    private const int PageBytes = 4096;
    private const int MaxProofBytes = 256;
    private const int FieldsBytes = 32 + MaxProofBytes;
    private const int RecordBytes = 32;

    private readonly string _path;
    private readonly byte[]? _expected;
    private readonly byte _expectedMark;
    private nint _address;
    private nuint _length;

    /// <param name="log">the path of the recovery log</param>
    /// <param name="expected">what what a dead server left must be bound to; null if nothing that is there counts</param>
    /// <param name="mark">that the header of the image has now</param>
    public BitmapShadow(string log, byte[]? expected, byte mark) =>
        (_path, _expected, _expectedMark) = (ShadowFile.PathOf(log), expected, mark);

    private Span<byte> All => new NativeBuffer(_address, checked((int)_length)).Span;

    public IReadOnlyList<BitmapMemory>? TakeLeft(IReadOnlyList<StoredBitmap> bitmaps)
    {
        if (_expected is null || !TryMapLeft(bitmaps.Count))
            return null;
        var found = new List<BitmapMemory>();
        foreach (var bitmap in bitmaps)
        {
            if (Find(bitmap) is not { } memory)
            {
                Unmap();
                return null;
            }

            found.Add(memory);
        }

        return found;
    }

    public IReadOnlyList<BitmapMemory>? MakeFor(IReadOnlyList<StoredBitmap> bitmaps)
    {
        if (bitmaps.Count == 0)
            return null;
        var start = HeaderBytesFor(bitmaps.Count);
        var length = start;
        foreach (var bitmap in bitmaps)
            length += BitmapMemory.BytesFor(bitmap.Shape.Bits);
        if (length > int.MaxValue || !TryMapNew(length))
            return null;
        var made = new List<BitmapMemory>();
        for (var i = 0; i < bitmaps.Count; i++)
        {
            var bytes = BitmapMemory.BytesFor(bitmaps[i].Shape.Bits);
            var record = RecordAt(i);
            (record[0], record[1]) = ((ulong)bitmaps[i].TableOffset.Value, (ulong)bitmaps[i].Shape.GranularityBits);
            (record[2], record[3]) = ((ulong)bitmaps[i].Shape.DiskSize, (ulong)start);
            made.Add(BitmapMemory.Of(new NativeBuffer(_address + (nint)start, bytes)));
            start += bytes;
        }

        Fields[2] = (ulong)bitmaps.Count;
        return made;
    }

    public void Bind(ReadOnlySpan<byte> proof, byte mark)
    {
        if (_address == 0)
            return;
        Volatile.Write(ref Fields[0], 0);
        proof.CopyTo(All[32..]);
        (Fields[1], Fields[3]) = (mark, (ulong)proof.Length);
        Volatile.Write(ref Fields[0], Magic);
    }

    public void Dispose() => Unmap();

    private Span<ulong> Fields => MemoryMarshal.Cast<byte, ulong>(All[..FieldsBytes]);

    private Span<ulong> RecordAt(int index) => MemoryMarshal.Cast<byte, ulong>(All.Slice(FieldsBytes + (index * RecordBytes), RecordBytes));

    private BitmapMemory? Find(StoredBitmap bitmap)
    {
        var bytes = BitmapMemory.BytesFor(bitmap.Shape.Bits);
        for (var i = 0; i < (int)Fields[2]; i++)
        {
            var record = RecordAt(i);
            if (record[0] != (ulong)bitmap.TableOffset.Value || record[1] != (ulong)bitmap.Shape.GranularityBits
                || record[2] != (ulong)bitmap.Shape.DiskSize)
            {
                continue;
            }

            return record[3] <= _length && (nuint)bytes <= _length - (nuint)record[3] && record[3] % PageBytes == 0
                ? BitmapMemory.Of(new NativeBuffer(_address + (nint)record[3], bytes))
                : null;
        }

        return null;
    }

    private bool TryMapLeft(int count)
    {
        var descriptor = Files.Open(_path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (descriptor < 0)
            return false;
        var length = Files.Seek(descriptor, 0, SEEK_END);
        var isOurs = IsOwn(descriptor) && length >= HeaderBytesFor(count) && length <= int.MaxValue
            && TryMap(descriptor, length);
        Files.Close(descriptor);
        if (!isOurs)
            return false;
        var proof = Fields[3];
        if (Fields[0] == Magic && Fields[1] == _expectedMark && _expectedMark != 0 && Fields[2] == (ulong)count && proof <= MaxProofBytes
            && All.Slice(32, (int)proof).SequenceEqual(_expected))
        {
            return true;
        }

        Unmap();
        return false;
    }

    private bool TryMapNew(long length)
    {
        // Not in the place of the other: a reader of that must not see it change.
        _ = Unistd.Unlink(_path);
        var descriptor = Files.Open(_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0x180);
        if (descriptor < 0)
            return false;

        // All of it now: no request may wait for memory.
        var mapped = Files.Allocate(descriptor, 0, 0, length) == 0 && TryMap(descriptor, length);
        Files.Close(descriptor);
        if (!mapped)
            _ = Unistd.Unlink(_path);
        return mapped;
    }

    private bool TryMap(int descriptor, long length)
    {
        _length = (nuint)length;
        _address = Files.Map(_length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, descriptor, 0);
        return _address != 0;
    }

    private void Unmap()
    {
        if (_address != 0)
            _ = Files.Unmap(_address, _length);
        _address = 0;
    }

    private static bool IsOwn(int descriptor) => Stat.OfFile(descriptor, out var found) == 0
        && found.IsRegularFile && found.stx_uid == Unistd.EffectiveUser() && found.stx_nlink == 1;

    private static long HeaderBytesFor(int count) => (FieldsBytes + ((long)count * RecordBytes) + PageBytes - 1) / PageBytes * PageBytes;
}
