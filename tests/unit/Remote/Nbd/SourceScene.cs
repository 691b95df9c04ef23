using System;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Nbd;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Storage;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Nbd;

/// <summary>A source on a loop of its own, with a clock that tests can wait for.</summary>
internal sealed class SourceScene : IDisposable
{
    /// <summary>What <see cref="Read"/> finds where nothing was read.</summary>
    private const byte Untouched = 0xee;

    private readonly LoopOfThisTest _loop = new();
    private bool _isClosed;

    public SourceScene(string url, RemoteSettings? settings = null, NbdTimes? times = null)
    {
        Assert.Null(RemoteLocation.Parse(url, out var location));
        Assert.Null(NbdSource.Create(location!, settings ?? new RemoteSettings(), times ?? Fast, Reports.Add, out var source));
        Source = source!;
    }

    /// <summary>Far more than a server on this machine needs, far less than a test may take.</summary>
    public static NbdTimes Fast { get; } = new() { Connect = 3000, Handshake = 4000, Progress = 4000, Look = 20 };

    public static NbdTimes Impatient { get; } = new() { Connect = 300, Handshake = 600, Progress = 300, Look = 20 };

    public NbdSource Source { get; }

    public List<string> Reports { get; } = [];

    public T Run<T>(Func<LoopTask<T>> work) => _loop.Run(work);

    public FetchResult Open(SourceIdentity? expected = null) => Run(() => Source.OpenAsync(expected));

    /// <summary>Reads, and sees that a failed read has not written beyond its buffer.</summary>
    public (FetchResult Result, byte[] Bytes) Read(long offset, int length) => Run(() => ReadAsync(offset, length));

    /// <summary>Several reads that are under way together.</summary>
    public (FetchResult Result, byte[] Bytes)[] ReadTogether(params (long Offset, int Length)[] ranges)
    {
        var results = new (FetchResult, byte[])[ranges.Length];
        Run(async () =>
        {
            var group = TaskGroup.Rent();
            for (var i = 0; i < ranges.Length; i++)
                group.Add(OneAsync(i));
            return await group.WaitAsync();
        });
        return results;

        async LoopTask<int> OneAsync(int index)
        {
            results[index] = await ReadAsync(ranges[index].Offset, ranges[index].Length);
            return 0;
        }
    }

    public void Close()
    {
        if (_isClosed)
            return;
        _isClosed = true;
        Run(Source.CloseAsync);
    }

    public void Dispose()
    {
        Close();
        _loop.Dispose();
    }

    private async LoopTask<(FetchResult, byte[])> ReadAsync(long offset, int length)
    {
        const int border = 64;
        var pool = LoopScheduler.Current.Buffers;
        var memory = pool.Rent(length + border);
        memory.Span.Fill(Untouched);
        var result = await Source.ReadAsync(offset, memory.Slice(0, length));
        var bytes = memory.Span[..length].ToArray();
        var isIntact = !memory.Span[length..].ContainsAnyExcept(Untouched);
        pool.Return(memory);
        Assert.True(isIntact, "bytes behind the buffer were written");
        return (result, bytes);
    }
}
