using System;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Buffers;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Cache;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Storage;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Cache;

/// <summary>A directory of caches, and a base whose bytes are known; several caches of it act as several processes do.</summary>
internal sealed class CacheScene : IDisposable
{
    public const int ChunkBytes = RemoteSettings.MinChunkBytes;

    private readonly TempDirectory _place = new();
    private readonly LoopOfThisTest _loop = new();

    /// <param name="length">of the base</param>
    /// <param name="directory">null for one that is gone when the test ends</param>
    public CacheScene(long length = (5 * ChunkBytes) - 1000, string? directory = null)
    {
        Key = new CacheKey("https://store.example/base.qcow2", "\"v1\"", length);
        Settings = new CacheSettings(directory ?? _place.File("cache"), long.MaxValue, ChunkBytes) { Clock = Clock };
    }

    public SetClock Clock { get; } = new();

    public CacheKey Key { get; init; }

    public CacheSettings Settings { get; set; }

    public List<string> Reports { get; } = [];

    public string Entry => Path.Combine(Settings.Directory, Key.EntryName(Settings.ChunkBytes));

    public ChunkLayout Layout => new(Key.Length, Settings.ChunkBytes);

    public T Run<T>(Func<LoopTask<T>> work) => _loop.Run(work);

    public ChunkCache? TryOpen(CacheKey? key = null, bool isConfirmed = true) =>
        Run(() => ChunkCache.OpenAsync(Settings, key ?? Key, Reports.Add, isConfirmed));

    public ChunkCache Open()
    {
        var cache = TryOpen();
        Assert.True(cache is not null, string.Join('\n', Reports));
        return cache;
    }

    public int Claim(ChunkCache cache, long chunk) => Run(() => cache.ClaimAsync(chunk));

    public int Store(ChunkCache cache, long chunk, bool pin = false, byte[]? bytes = null) => Run(async () =>
    {
        var pool = LoopScheduler.Current.Buffers;
        var buffer = pool.Rent(Layout.BytesOf(chunk));
        (bytes ?? BytesOf(chunk)).CopyTo(buffer.Span);
        var result = await cache.StoreAsync(chunk, buffer, pin);
        pool.Return(buffer);
        return result;
    });

    public void Fill(ChunkCache cache, params long[] chunks)
    {
        foreach (var chunk in chunks)
        {
            Assert.Equal(1, Claim(cache, chunk));
            Assert.Equal(1, Store(cache, chunk));
        }
    }

    /// <returns>null if the cache does not have them</returns>
    public byte[]? Read(ChunkCache cache, long offset, int length) => Run(async () =>
    {
        var pool = LoopScheduler.Current.Buffers;
        var buffer = pool.Rent(length);
        buffer.Span.Fill(0xee);
        var bytes = await cache.ReadAsync(offset, buffer) == 1 ? buffer.Span.ToArray() : null;
        pool.Return(buffer);
        return bytes;
    });

    public byte[]? ReadChunk(ChunkCache cache, long chunk) => Read(cache, chunk * Settings.ChunkBytes, Layout.BytesOf(chunk));

    /// <summary>Whether the cache has a chunk; if it has, it must be right.</summary>
    public bool Has(ChunkCache cache, long chunk)
    {
        if (ReadChunk(cache, chunk) is not { } bytes)
            return false;
        Assert.True(bytes.AsSpan().SequenceEqual(BytesOf(chunk)), $"chunk {chunk} has wrong bytes");
        return true;
    }

    public byte[] BytesOf(long chunk) => SourceBytes.Of(chunk, Layout.BytesOf(chunk));

    public void Dispose()
    {
        _loop.Dispose();
        _place.Dispose();
    }
}

/// <summary>A clock that goes when it is told to.</summary>
internal sealed class SetClock : TimeProvider
{
    private DateTimeOffset _now = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public void Advance(TimeSpan time) => _now += time;

    public override DateTimeOffset GetUtcNow() => _now;
}
