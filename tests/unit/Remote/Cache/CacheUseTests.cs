using System;
using System.IO;
using Qcow2Blk.Remote.Cache;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Cache;

/// <summary>What counts as a use of a part of a cache, and when it was.</summary>
public sealed class CacheUseTests : IDisposable
{
    private static readonly TimeSpan s_old = TimeSpan.FromSeconds(RoomMaker.RecentSeconds + 1);

    private readonly CacheScene _scene = new();

    /// <summary>Of a clock that was wrong, or of somebody who wants it to stay: it would not go for years.</summary>
    [Theory]
    [InlineData(1 - RoomMaker.RecentSeconds, true)]
    [InlineData(60, true)]
    [InlineData(61, false)]
    [InlineData(1L << 62, false)]
    public void A_time_that_is_yet_to_come_is_not_a_use(long ahead, bool isUse)
    {
        using var cache = _scene.Open();
        _scene.Fill(cache, 0);
        _scene.Clock.Advance(s_old);
        using (var directory = CacheDirectory.Open(_scene.Settings.Directory, make: false))
        using (var entry = EntryFiles.TryOpen(directory!.Root, Path.GetFileName(_scene.Entry))!)
            Assert.Equal(0, entry.Map.WriteLastUse(0, _scene.Settings.Now + ahead));
        CacheRoomTests.MakeRoom(_scene, 1);
        Assert.Equal(isUse, _scene.Has(cache, 0));
    }

    [Fact]
    public void What_was_stored_last_before_the_end_counts_as_used()
    {
        using (var cache = _scene.Open())
        {
            _scene.Fill(cache, 0);
            _scene.Clock.Advance(TimeSpan.FromSeconds(50));
            _scene.Fill(cache, 1);
        }

        _scene.Clock.Advance(TimeSpan.FromSeconds(RoomMaker.RecentSeconds - 40));
        CacheRoomTests.MakeRoom(_scene, 1);
        using var again = _scene.Open();
        Assert.True(again.IsStored(0) && again.IsStored(1));
    }

    [Theory]
    [InlineData("\"v1\"", "\"v2\"")]
    [InlineData("\"v2\"", "\"v1\"")]
    public void Of_the_entries_that_nobody_uses_the_one_goes_first_that_was_used_longest_ago(string first, string second)
    {
        foreach (var version in (string[])[first, second])
        {
            using (var cache = _scene.TryOpen(_scene.Key with { Version = version }))
                _scene.Fill(cache!, 0);
            _scene.Clock.Advance(s_old);
        }

        CacheRoomTests.MakeRoom(_scene, 1);
        using var gone = _scene.TryOpen(_scene.Key with { Version = first });
        using var stays = _scene.TryOpen(_scene.Key with { Version = second });
        Assert.Equal((false, true), (gone!.IsStored(0), stays!.IsStored(0)));
    }

    public void Dispose() => _scene.Dispose();
}
