using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Tests.Shared.Simulation;

/// <summary>Bytes as a storage that only reads, and at once: tasks are complete when they are returned.</summary>
internal sealed class ImageBytesStorage(IImageBytes bytes, string path) : IBlockStorage
{
    private const int EROFS = 30;

    public string Path => path;

    public long Length => bytes.Length;

    public bool ReadOnly => true;

    public long AllocatedBytes => bytes.Length;

    public int OffsetAlignment => 1;

    public int MemoryAlignment => 1;

    public FileRange FindRange(long offset) => bytes.FindRange(offset);

    public LoopTask<int> ReadAsync(long offset, NativeBuffer buffer)
    {
        bytes.Read(offset, buffer.Span);
        return new LoopTask<int>(0);
    }

    public LoopTask<int> WriteAsync(long offset, NativeBuffer buffer) => new(-EROFS);

    public LoopTask<int> FlushAsync() => new(0);

    public LoopTask<int> PunchAsync(long offset, long length) => new(-EROFS);

    public LoopTask<int> ZeroAsync(long offset, long length) => new(-EROFS);

    public LoopTask<int> SetLengthAsync(long length) => new(-EROFS);

    public void Dispose()
    {
        // The bytes belong to the caller.
    }
}
