using System;
using System.Globalization;
using System.IO;
using System.Linq;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote.Cache;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Remote.Cache;

/// <summary>
/// The disk of a cache fails while it is used: nothing of it is used any more, and nobody gets a wrong byte or an error. A disk that
/// fails is a file with the same number as the one that was opened, from which nothing can be read or written.
/// </summary>
public sealed class FailingDiskTests : IDisposable
{
    private const int Chunk = CacheScene.ChunkBytes;

    private readonly CacheScene _scene = new();

    [Fact]
    public void A_disk_that_cannot_be_read_is_reported_once_and_not_used_any_more()
    {
        using var cache = _scene.Open();
        _scene.Fill(cache, 0, 1);
        Assert.True(_scene.Has(cache, 1));
        using var other = _scene.Open();
        Assert.Equal(1, _scene.Claim(other, 2));
        Replace("data", O_RDONLY, Path.Combine(_scene.Entry, "data"), O_WRONLY);

        Assert.Null(_scene.ReadChunk(cache, 0));
        Assert.Null(_scene.ReadChunk(cache, 1));

        Assert.True(cache.IsGivenUp);
        Assert.Contains("is not used any more: reading data at 0: bad file descriptor", Assert.Single(_scene.Reports),
            StringComparison.Ordinal);
        Assert.False(cache.IsStored(1));
        Assert.False(cache.IsThere(Chunk, 10, out _));
        Assert.Equal(1, _scene.Claim(cache, 1));
        Assert.Equal(0, _scene.Store(cache, 1));

        // Who stores nothing waits for nobody who does.
        Assert.Equal(1, _scene.Claim(cache, 2));
    }

    [Fact]
    public void A_chunk_that_could_not_be_replaced_is_there_for_nobody()
    {
        using (var before = _scene.Open())
            _scene.Fill(before, 1);
        using var other = _scene.Open();
        Assert.True(_scene.Has(other, 1));
        Damage(Chunk + 17);
        using var cache = _scene.Open();
        Assert.False(_scene.Has(cache, 1));
        Assert.Equal(1, _scene.Claim(cache, 1));
        Replace("data", O_RDWR, Path.Combine(_scene.Entry, "data"), O_RDONLY);

        Assert.Equal(0, _scene.Store(cache, 1));

        Assert.True(cache.IsGivenUp);
        Assert.Contains("writing chunk 1: ", Assert.Single(_scene.Reports), StringComparison.Ordinal);
        Assert.False(other.IsStored(1));
    }

    [Fact]
    public void Without_locks_each_fetches_for_itself_and_nothing_is_stored()
    {
        using var cache = _scene.Open();
        _scene.Fill(cache, 0);
        Replace("lock", O_RDWR, Path.Combine(_scene.Entry, "lock"), O_RDONLY);

        Assert.Equal(1, _scene.Claim(cache, 1));

        Assert.Contains("chunks cannot be locked: bad file descriptor", Assert.Single(_scene.Reports), StringComparison.Ordinal);
        Assert.True(cache.IsGivenUp);
        Assert.Equal(0, _scene.Store(cache, 1));
    }

    /// <summary>What cannot be synced: the words are written, and nobody knows whether the disk has them.</summary>
    [Fact]
    public void Nothing_is_overwritten_before_the_disk_knows_that_its_word_is_cleared()
    {
        using (var before = _scene.Open())
            _scene.Fill(before, 1);
        Damage(Chunk + 17);
        using var cache = _scene.Open();
        Assert.False(_scene.Has(cache, 1));
        Assert.Equal(1, _scene.Claim(cache, 1));
        var bytes = DataBytes();
        Replace("map", O_RDWR, "/dev/null", O_RDWR);

        Assert.Equal(0, _scene.Store(cache, 1));

        Assert.True(cache.IsGivenUp);
        Assert.Equal(bytes, DataBytes());
    }

    [Fact]
    public void Nothing_is_punched_before_the_disk_knows_that_its_word_is_cleared()
    {
        using (var before = _scene.Open())
            _scene.Fill(before, 0, 1);
        var bytes = DataBytes();
        using var directory = CacheDirectory.Open(_scene.Settings.Directory, make: false);
        using var entry = EntryFiles.TryOpen(directory!.Root, Path.GetFileName(_scene.Entry))!;
        var data = entry.OpenData(O_RDWR);
        Replace("map", O_RDWR, "/dev/null", O_RDWR);

        Assert.Equal(-Errno.EINVAL, SegmentEviction.Run(entry, data, 0));
        Assert.Equal(-Errno.EINVAL, SegmentEviction.Drop(entry, data, 1, entry.Map[1]));

        Files.Close(data);
        Assert.Equal(bytes, DataBytes());
    }

    public void Dispose() => _scene.Dispose();

    /// <summary>Puts another file behind the numbers of those that are open of the entry.</summary>
    private void Replace(string name, int access, string path, int flags)
    {
        var with = Files.Open(path, flags | O_CLOEXEC);
        Assert.True(with >= 0);
        var open = Directory.EnumerateFileSystemEntries("/proc/self/fd")
            .Where(link => new FileInfo(link).LinkTarget == Path.Combine(_scene.Entry, name))
            .Select(link => int.Parse(Path.GetFileName(link), CultureInfo.InvariantCulture))
            .Where(descriptor => descriptor != with && (Fcntl.Control(descriptor, F_GETFL, 0) & O_ACCMODE) == access)
            .ToList();
        Assert.NotEmpty(open);
        foreach (var descriptor in open)
            Assert.Equal(descriptor, Unistd.Replace(with, descriptor));
        Files.Close(with);
    }

    private byte[] DataBytes() => File.ReadAllBytes(Path.Combine(_scene.Entry, "data"));

    private void Damage(long offset)
    {
        using var data = File.OpenWrite(Path.Combine(_scene.Entry, "data"));
        data.Position = offset;
        data.WriteByte((byte)(_scene.BytesOf(offset / Chunk)[offset % Chunk] ^ 1));
    }
}
