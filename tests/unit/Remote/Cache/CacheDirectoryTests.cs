using System;
using System.IO;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote.Cache;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Cache;

public sealed class CacheDirectoryTests : IDisposable
{
    private readonly CacheScene _scene = new();

    [Fact]
    public void The_entry_that_the_source_confirmed_last_is_the_newest()
    {
        var second = _scene.Key with { Version = "\"v2\"" };
        _scene.TryOpen()!.Dispose();
        _scene.Clock.Advance(TimeSpan.FromHours(1));
        _scene.TryOpen(second)!.Dispose();
        _scene.Clock.Advance(TimeSpan.FromHours(2));
        var found = CacheDirectory.FindNewest(_scene.Settings.Directory, _scene.Key.Name, _scene.Clock);
        Assert.Equal(new FoundEntry(second, CacheScene.ChunkBytes, TimeSpan.FromHours(2)), found);

        // A start without the source says nothing about what it has.
        _scene.TryOpen(isConfirmed: false)!.Dispose();
        _scene.TryOpen(second, isConfirmed: false)!.Dispose();
        Assert.Equal(found, CacheDirectory.FindNewest(_scene.Settings.Directory, _scene.Key.Name, _scene.Clock));
        _scene.TryOpen()!.Dispose();
        Assert.Equal(
            new FoundEntry(_scene.Key, CacheScene.ChunkBytes, TimeSpan.Zero),
            CacheDirectory.FindNewest(_scene.Settings.Directory, _scene.Key.Name, _scene.Clock));
    }

    [Fact]
    public void An_entry_that_no_source_has_confirmed_is_not_gone_by()
    {
        // What a manifest pins, what nothing tells from another: its version says nothing to the source when it is back.
        _scene.TryOpen(_scene.Key with { Version = "sha256:00" }, isConfirmed: false)!.Dispose();
        Assert.Null(CacheDirectory.FindNewest(_scene.Settings.Directory, _scene.Key.Name));
    }

    [Fact]
    public void A_source_that_is_not_known_has_no_entry()
    {
        Assert.Null(CacheDirectory.FindNewest(_scene.Settings.Directory, _scene.Key.Name));
        Assert.False(Directory.Exists(_scene.Settings.Directory));
        _scene.TryOpen()!.Dispose();
        Assert.Null(CacheDirectory.FindNewest(_scene.Settings.Directory, "https://store.example/other"));
    }

    /// <summary>Of a clock that was wrong, or of somebody who wants the entry to stay.</summary>
    [Fact]
    public void A_confirmation_that_is_yet_to_come_is_no_later_use_than_now()
    {
        _scene.TryOpen()!.Dispose();
        using var directory = CacheDirectory.Open(_scene.Settings.Directory, make: false)!;
        using (var folder = directory.Root.OpenFolder(Path.GetFileName(_scene.Entry), make: false)!)
            Assert.Equal(0, (CacheLabel.TryRead(folder)! with { Confirmed = long.MaxValue }).Write(folder));
        using var entry = EntryFiles.TryOpen(directory.Root, Path.GetFileName(_scene.Entry))!;
        Assert.Equal(_scene.Settings.Now, entry.LastUse(_scene.Settings.Now));
    }

    [Fact]
    public void An_entry_in_use_is_not_removed_and_its_users_are_counted()
    {
        var caches = Enumerable.Range(0, 7).Select(_ => _scene.Open()).ToArray();
        using var directory = CacheDirectory.Open(_scene.Settings.Directory, make: false)!;
        var name = _scene.Key.EntryName(CacheScene.ChunkBytes);
        using (var entry = EntryFiles.TryOpen(directory.Root, name)!)
        {
            for (var left = caches.Length; left > 0; left--)
            {
                Assert.Equal(left, entry.CountUsers());
                Assert.True(entry.IsInUse());
                Assert.Equal(-Errno.EBUSY, directory.Remove(name));
                caches[left - 1].Dispose();
            }

            Assert.Equal(0, entry.CountUsers());
            Assert.False(entry.IsInUse());
        }

        Assert.Equal(0, directory.Remove(name));
        Assert.False(Directory.Exists(_scene.Entry));
        Assert.Equal(0, directory.Remove(name));
    }

    [Fact]
    public async Task Many_that_open_an_entry_at_once_open_one()
    {
        var caches = new ChunkCache?[40];
        await Task.WhenAll(Enumerable.Range(0, caches.Length).Select(i => Task.Run(() =>
        {
            using var scene = new CacheScene(directory: _scene.Settings.Directory);
            caches[i] = scene.TryOpen();
            Assert.Empty(scene.Reports);
        })));
        var first = caches[0]!;
        _scene.Fill(first, 1);
        Assert.All(caches, cache => Assert.True(cache!.IsStored(1)));
        Assert.All(caches, cache => cache!.Dispose());
    }

    [Fact]
    public void A_process_that_keeps_the_directory_locked_holds_nobody_up_for_long()
    {
        _scene.TryOpen()!.Dispose();
        var descriptor = Files.Open(Path.Combine(_scene.Settings.Directory, "lock"), 2);
        Assert.Equal(0, Fcntl.SetLock(descriptor, 1, 0, 1));
        Assert.Null(_scene.TryOpen());
        Assert.Contains("keeps it locked", Assert.Single(_scene.Reports), StringComparison.Ordinal);
        Files.Close(descriptor);
        _scene.TryOpen()!.Dispose();
    }

    public void Dispose() => _scene.Dispose();
}
