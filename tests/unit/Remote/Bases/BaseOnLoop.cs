using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Security.Cryptography;
using Qcow2Blk.Buffers;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>A base of random bytes behind sources and a cache in memory, on a simulated loop.</summary>
internal sealed class BaseOnLoop : IDisposable
{
    public const int Chunk = RemoteSettings.MinChunkBytes;

    private readonly SimulatedLoop _loop;
    private readonly SourcePool _pool;

    public BaseOnLoop(int seed, int sources = 1, RemoteSettings? settings = null, bool hasCache = true, bool hasProof = false,
        int length = (40 * Chunk) + 1000, bool hasOwnWays = false)
    {
        _loop = new SimulatedLoop(seed);
        Content = new byte[length];
        new Random(seed).NextBytes(Content);
        Content.AsSpan(10 * Chunk, Chunk).Clear();
        for (var i = 0; i < sources; i++)
            Sources.Add(new FakeSource($"https://server{i}/base", Content) { HasOwnWays = hasOwnWays });
        Cache = hasCache ? new FakeCache(Chunk) : null;
        Proof = hasProof ? new HashProof(Content) : null;
        var counters = new RemoteCounters();
        _pool = new SourcePool(Sources, Proof, new SourceIdentity(length, null), counters, Reports.Add)
        {
            Clock = () => _loop.Now * Stopwatch.Frequency / 1000,
        };
        var parts = new RemoteParts(length, Chunk, "\"one\"", _pool, Cache, Proof, counters);
        RemoteLocation.Parse("https://server0/base", out var location);
        Storage = new RemoteStorage(location!, parts, settings ?? new RemoteSettings(), Reports.Add);
    }

    public byte[] Content { get; }

    public List<FakeSource> Sources { get; } = [];

    public FakeSource Source => Sources[0];

    public FakeCache? Cache { get; }

    public IChunkProof? Proof { get; }

    public List<string> Reports { get; } = [];

    public RemoteStorage Storage { get; }

    public SimulatedLoop Loop => _loop;

    /// <summary>Reads, and compares if it succeeds.</summary>
    public int Read(long offset, int length) => _loop.RunUntilComplete(ReadAsync(offset, length));

    public async LoopTask<int> ReadAsync(long offset, int length)
    {
        var pool = LoopScheduler.Current.Buffers;
        var buffer = pool.Rent(length);
        buffer.Span.Fill(0xAA);
        var error = await Storage.ReadAsync(offset, buffer);
        if (error == 0)
        {
            var expected = new byte[length];
            var inside = (int)Math.Clamp(Content.Length - offset, 0, length);
            Content.AsSpan((int)Math.Min(offset, Content.Length), inside).CopyTo(expected);
            Assert.True(buffer.Span.SequenceEqual(expected), $"{length} bytes at {offset} are not those of the base");
        }

        pool.Return(buffer);
        return error;
    }

    /// <summary>Lets time pass.</summary>
    public void Sleep(int milliseconds) => _loop.RunUntilComplete(_loop.DelayAsync(milliseconds));

    public void WaitUntilIdle() => _loop.RunUntilComplete(Storage.WhenIdleAsync());

    public void Dispose()
    {
        Storage.Dispose();
        WaitUntilIdle();
        _loop.RunUntilIdle();
        Assert.True(Cache is null || Cache.IsDisposed);
        _loop.Dispose();
    }

    private sealed class HashProof : IChunkProof
    {
        private readonly byte[][] _hashes;

        public HashProof(byte[] content)
        {
            Length = content.Length;
            _hashes = new byte[(content.Length + Chunk - 1) / Chunk][];
            for (var i = 0; i < _hashes.Length; i++)
                _hashes[i] = SHA256.HashData(content.AsSpan(i * Chunk, Math.Min(Chunk, content.Length - (i * Chunk))));
        }

        public int ChunkBytes => Chunk;

        public long Length { get; }

        public string Root => new('0', 64);

        public bool IsZero(long chunk) => _hashes[chunk].AsSpan().SequenceEqual(SHA256.HashData(new byte[Chunk]));

        public bool Holds(long chunk, ReadOnlySpan<byte> bytes) => _hashes[chunk].AsSpan().SequenceEqual(SHA256.HashData(bytes));
    }
}
