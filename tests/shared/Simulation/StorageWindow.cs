using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Tests.Shared.Simulation;

/// <summary>
/// A file within a larger one: an image and its data file lie side by side in one storage, so that one log tells in which order
/// both were written. A flush brings down what is in the window and nothing else.
/// </summary>
internal sealed class StorageWindow(MemoryStorage whole, long start, string path) : IBlockStorage
{
    /// <summary>Where the data file begins in the storage of an image that has one.</summary>
    public const long DataStart = 32 << 20;

    public string Path => path;

    /// <summary>The image has all of its room, whatever it makes of that; the data file ends where the storage does.</summary>
    public long Length => start == 0 ? DataStart : whole.Length - start;

    public bool ReadOnly => whole.ReadOnly;

    public int OffsetAlignment => whole.OffsetAlignment;

    public int MemoryAlignment => whole.MemoryAlignment;

    public long AllocatedBytes => whole.AllocatedBytes;

    /// <summary>The image and its data file.</summary>
    public static (StorageWindow Image, StorageWindow Data) Both(MemoryStorage whole) =>
        (new StorageWindow(whole, 0, "memory.qcow2"), new StorageWindow(whole, DataStart, "data.raw"));

    /// <summary>The data file alone, for those who read.</summary>
    public static IImageBytes DataOf(IImageBytes joined) => new DataBytes(joined);

    /// <summary>Puts the two files into one.</summary>
    public static SparseBytes Join(SparseBytes image, SparseBytes data)
    {
        ArgumentNullException.ThrowIfNull(image);
        ArgumentNullException.ThrowIfNull(data);
        var joined = new SparseBytes();
        joined.SetLength(DataStart + data.Length);
        Copy(image, 0, joined, 0, image.Length);
        Copy(data, 0, joined, DataStart, data.Length);
        return joined;
    }

    /// <summary>Writes the two files to disk.</summary>
    public static void Split(IImageBytes joined, string image, string data)
    {
        ArgumentNullException.ThrowIfNull(joined);
        Save(joined, 0, Math.Min(DataStart, joined.Length), image);
        Save(joined, DataStart, joined.Length - DataStart, data);
    }

    public FileRange FindRange(long offset)
    {
        var found = whole.FindRange(start + offset);
        return found with { End = found.End == long.MaxValue ? found.End : found.End - start };
    }

    public LoopTask<int> ReadAsync(long offset, NativeBuffer buffer) => whole.ReadAsync(start + offset, buffer);

    public LoopTask<int> WriteAsync(long offset, NativeBuffer buffer) => whole.WriteAsync(start + offset, buffer);

    public LoopTask<int> FlushAsync() => whole.FlushRangeAsync(start, start == 0 ? DataStart : long.MaxValue / 2);

    public LoopTask<int> PunchAsync(long offset, long length) => whole.PunchAsync(start + offset, length);

    public LoopTask<int> ZeroAsync(long offset, long length) => whole.ZeroAsync(start + offset, length);

    public LoopTask<int> SetLengthAsync(long length) =>
        start == 0 ? new LoopTask<int>(0) : whole.SetLengthAsync(start + length);

    /// <summary>The storage is closed with the window that was opened first.</summary>
    public void Dispose()
    {
        if (start == 0)
            whole.Dispose();
    }

    private static void Copy(SparseBytes from, long fromOffset, SparseBytes to, long toOffset, long count)
    {
        var piece = new byte[64 << 10];
        for (var done = 0L; done < count; done += piece.Length)
        {
            var bytes = piece.AsSpan(0, (int)Math.Min(piece.Length, count - done));
            from.Read(fromOffset + done, bytes);
            if (bytes.ContainsAnyExcept((byte)0))
                to.Write(toOffset + done, bytes);
        }
    }

    private static void Save(IImageBytes joined, long offset, long count, string path)
    {
        using var file = System.IO.File.OpenHandle(path, System.IO.FileMode.Create, System.IO.FileAccess.ReadWrite);
        System.IO.RandomAccess.SetLength(file, count);
        var piece = new byte[64 << 10];
        for (var done = 0L; done < count; done += piece.Length)
        {
            var bytes = piece.AsSpan(0, (int)Math.Min(piece.Length, count - done));
            joined.Read(offset + done, bytes);
            if (bytes.ContainsAnyExcept((byte)0))
                System.IO.RandomAccess.Write(file, bytes, done);
        }
    }

    private sealed class DataBytes(IImageBytes joined) : IImageBytes
    {
        public long Length => joined.Length - DataStart;

        public void Read(long offset, Span<byte> into) => joined.Read(DataStart + offset, into);
    }
}
