using System;
using System.Collections.Concurrent;
using System.Linq;
using Qcow2Blk.Buffers;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Http;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Storage;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Http;

/// <summary>A source on a real loop, and what is asked of it from a test's thread.</summary>
internal sealed class SourceScene : IDisposable
{
    /// <summary>Short, so that a test of them takes no longer than they do.</summary>
    public static readonly HttpTimeouts Short = new()
    {
        Connect = TimeSpan.FromSeconds(1),
        FirstByte = TimeSpan.FromMilliseconds(700),
        Progress = TimeSpan.FromMilliseconds(700),
    };

    private readonly LoopOfThisTest _loop = new();
    private readonly HttpSource _source;

    public SourceScene(string url, RemoteSettings? settings = null, HttpTimeouts? timeouts = null)
    {
        HttpSource? source = null;
        Assert.Null(RemoteLocation.Parse(url, out var location));
        Assert.Null(_loop.Run(() => new LoopTask<string?>(
            HttpSource.Create(location!, settings ?? new RemoteSettings(), timeouts ?? Short, Reports.Enqueue, out source))));
        _source = source!;
    }

    public ConcurrentQueue<string> Reports { get; } = new();

    public SourceIdentity? Identity => _source.Identity;

    public bool IsEmulated => _loop.Loop.IsEmulated;

    public static byte[] Pattern(int length)
    {
        var bytes = new byte[length];
        new Random(length).NextBytes(bytes);
        return bytes;
    }

    public FetchResult Open(SourceIdentity? expected = null) => _loop.Run(() => _source.OpenAsync(expected));

    public (FetchResult Result, byte[] Bytes) Read(long offset, int length) => _loop.Run(() => ReadAsync(offset, length));

    /// <summary>Reads all of these at the same time.</summary>
    public (FetchResult Result, byte[] Bytes)[] Read(params (long Offset, int Length)[] ranges) => _loop.Run(async () =>
    {
        var results = new (FetchResult Result, byte[] Bytes)[ranges.Length];
        var group = TaskGroup.Rent();
        for (var i = 0; i < ranges.Length; i++)
            group.Add(ReadInto(results, i, ranges[i].Offset, ranges[i].Length));
        await group.WaitAsync();
        return results;
    });

    /// <summary>Closes the source while this is read.</summary>
    public FetchResult ReadAndClose(long offset, int length) => _loop.Run(async () =>
    {
        var results = new (FetchResult Result, byte[] Bytes)[1];
        var group = TaskGroup.Rent();
        group.Add(ReadInto(results, 0, offset, length));
        await _loop.Loop.DelayAsync(100);
        await _source.CloseAsync();
        await group.WaitAsync();
        return results[0].Result;
    });

    public void Dispose()
    {
        _loop.Run(_source.CloseAsync);
        _loop.Dispose();
    }

    private async LoopTask<int> ReadInto((FetchResult Result, byte[] Bytes)[] results, int index, long offset, int length)
    {
        results[index] = await ReadAsync(offset, length);
        return 0;
    }

    private async LoopTask<(FetchResult Result, byte[] Bytes)> ReadAsync(long offset, int length)
    {
        // Behind the end are bytes that nobody may touch.
        const int guard = 4096;
        var buffer = _loop.Loop.Buffers.Rent(length + guard);
        buffer.Span.Fill(0xa5);
        var result = await _source.ReadAsync(offset, buffer.Slice(0, length));
        Assert.True(buffer.Slice(length, guard).Span.IndexOfAnyExcept((byte)0xa5) < 0, "bytes were written behind the buffer");
        var bytes = buffer.Slice(0, length).Span.ToArray();
        _loop.Loop.Buffers.Return(buffer);
        return (result, bytes);
    }
}
