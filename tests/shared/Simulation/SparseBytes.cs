using System;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Tests.Shared.Simulation;

/// <summary>The bytes of a file in memory; pages that were never written take no memory and read as zeroes.</summary>
internal sealed class SparseBytes : IImageBytes
{
    private const int PageSize = 4096;

    private readonly Dictionary<long, byte[]> _pages = [];

    public long Length { get; private set; }

    /// <summary>Bytes of pages that hold something: what a file system would call allocated.</summary>
    public long Allocated => (long)_pages.Count * PageSize;

    public static SparseBytes FromFile(string path)
    {
        var bytes = new SparseBytes();
        using var file = File.OpenHandle(path);
        bytes.SetLength(RandomAccess.GetLength(file));
        var page = new byte[PageSize];
        for (long offset = 0; offset < bytes.Length; offset += PageSize)
        {
            var count = RandomAccess.Read(file, page, offset);
            if (page.AsSpan(0, count).ContainsAnyExcept((byte)0))
                bytes.Write(offset, page.AsSpan(0, count));
        }

        return bytes;
    }

    public void Save(string path)
    {
        using var file = File.OpenHandle(path, FileMode.Create, FileAccess.ReadWrite);
        RandomAccess.SetLength(file, Length);
        foreach (var (index, page) in _pages)
        {
            var offset = index * PageSize;
            var count = (int)Math.Min(PageSize, Length - offset);
            if (count > 0)
                RandomAccess.Write(file, page.AsSpan(0, count), offset);
        }
    }

    public SparseBytes Copy()
    {
        var copy = new SparseBytes { Length = Length };
        foreach (var (index, page) in _pages)
            copy._pages.Add(index, page.AsSpan().ToArray());
        return copy;
    }

    /// <summary>What lies past the end reads as zeroes.</summary>
    public void Read(long offset, Span<byte> into)
    {
        while (into.Length > 0)
        {
            var (page, start, count) = Locate(offset, into.Length);
            if (_pages.TryGetValue(page, out var bytes))
                bytes.AsSpan(start, count).CopyTo(into);
            else
                into[..count].Clear();
            into = into[count..];
            offset += count;
        }
    }

    public void Write(long offset, ReadOnlySpan<byte> data)
    {
        Length = Math.Max(Length, offset + data.Length);
        while (data.Length > 0)
        {
            var (page, start, count) = Locate(offset, data.Length);
            if (!_pages.TryGetValue(page, out var bytes))
                _pages.Add(page, bytes = new byte[PageSize]);
            data[..count].CopyTo(bytes.AsSpan(start));
            data = data[count..];
            offset += count;
        }
    }

    /// <summary>Makes a range read as zeroes; the length stays.</summary>
    public void Clear(long offset, long length)
    {
        while (length > 0)
        {
            var (page, start, count) = Locate(offset, length);
            if (count == PageSize)
                _pages.Remove(page);
            else if (_pages.TryGetValue(page, out var bytes))
                bytes.AsSpan(start, count).Clear();
            length -= count;
            offset += count;
        }
    }

    public void SetLength(long length)
    {
        if (length < Length)
            Clear(length, Length - length);
        Length = length;
    }

    /// <summary>Pages that were never written, or cleared as a whole, are holes, as in a file system with blocks of their size.</summary>
    public FileRange FindRange(long offset)
    {
        var page = offset / PageSize;
        var last = (Length - 1) / PageSize;
        if (offset < Length && _pages.ContainsKey(page))
        {
            while (_pages.ContainsKey(page))
                page++;
            return new FileRange(IsHole: false, page * PageSize, Seeks: 2);
        }

        // A page at a time where that is quick; a hole of terabytes has few pages behind it.
        if (last - page <= _pages.Count)
        {
            while (page <= last && !_pages.ContainsKey(page))
                page++;
        }
        else
        {
            var next = long.MaxValue;
            foreach (var index in _pages.Keys)
                next = index > page ? Math.Min(next, index) : next;
            page = next;
        }

        return new FileRange(IsHole: true, page > last ? long.MaxValue : page * PageSize, Seeks: 1);
    }

    private static (long Page, int Start, int Count) Locate(long offset, long length)
    {
        var start = (int)(offset % PageSize);
        return (offset / PageSize, start, (int)Math.Min(length, PageSize - start));
    }
}
