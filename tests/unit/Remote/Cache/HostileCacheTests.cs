using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote.Cache;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Cache;

/// <summary>Whatever lies in the directory of a cache: it is used if it is right, and replaced or refused if it is not.</summary>
public sealed class HostileCacheTests : IDisposable
{
    private const int Chunks = 5;
    private const int Chunk = CacheScene.ChunkBytes;

    private readonly CacheScene _scene = new();

    public static TheoryData<string, long> Cuts => new()
    {
        { "map", 0 }, { "map", 1 }, { "map", 4095 }, { "map", 4096 }, { "map", 8192 }, { "map", 1 << 20 },
        { "data", 0 }, { "data", Chunk }, { "data", (5 * Chunk) - 1 }, { "data", (5 * Chunk) + 1 },
        { "meta.json", 0 }, { "meta.json", 20 }, { "meta.json", 1 << 20 },
    };

    [Fact]
    public void A_header_with_any_byte_changed_is_replaced()
    {
        FillAll();
        var map = Path.Combine(_scene.Entry, "map");
        foreach (var offset in Enumerable.Range(0, 56).Append(100).Append(4095))
        {
            Change(map, offset, value => (byte)(value ^ 0x5a));
            using var cache = _scene.Open();
            Assert.Equal(0, cache.StoredBytes);
            _scene.Fill(cache, 0, 4);
            Assert.True(_scene.Has(cache, 0) && _scene.Has(cache, 4));
        }
    }

    /// <summary>Between fork and exec, a child has all that is open.</summary>
    [Fact]
    public void Lock_that_a_child_has_inherited_is_let_go_with_the_entry()
    {
        const int duplicate = 1030;
        FillAll();
        var cache = _scene.Open();
        List<int> inherited = [.. Directory.EnumerateFileSystemEntries("/proc/self/fd")
            .Where(link => new FileInfo(link).LinkTarget == Path.Combine(_scene.Entry, "lock"))
            .Select(link => Fcntl.Control(int.Parse(Path.GetFileName(link), CultureInfo.InvariantCulture), duplicate, 0))];
        Assert.NotEmpty(inherited);
        cache.Dispose();

        Change(Path.Combine(_scene.Entry, "map"), 0, value => (byte)~value);
        using (var next = _scene.Open())
            Assert.Equal(0, next.StoredBytes);
        inherited.ForEach(descriptor => Files.Close(descriptor));
    }

    [Theory]
    [MemberData(nameof(Cuts))]
    public void A_file_of_another_length_is_replaced(string name, long length)
    {
        FillAll();
        using (var file = File.OpenWrite(Path.Combine(_scene.Entry, name)))
            file.SetLength(length);
        using var cache = _scene.Open();
        Assert.Equal(0, cache.StoredBytes);
        _scene.Fill(cache, 1);
        Assert.True(_scene.Has(cache, 1));
    }

    [Theory]
    [InlineData("map")]
    [InlineData("data")]
    [InlineData("meta.json")]
    public void A_file_that_is_a_link_is_replaced_and_what_it_leads_to_stays(string name)
    {
        FillAll();
        var path = Path.Combine(_scene.Entry, name);
        var target = Path.Combine(_scene.Settings.Directory, "target");
        File.Move(path, target);
        var before = File.ReadAllBytes(target);
        foreach (var isHard in (bool[])[false, true])
        {
            File.Delete(path);
            Assert.True(isHard ? Unistd.Link(target, path) == 0 : File.CreateSymbolicLink(path, target).Exists);
            using var cache = _scene.Open();
            Assert.Equal(0, cache.StoredBytes);
            _scene.Fill(cache, 1);
            Assert.True(_scene.Has(cache, 1));
            Assert.Equal(before, File.ReadAllBytes(target));
        }
    }

    [Fact]
    public void A_pipe_keeps_nobody_waiting()
    {
        FillAll();
        foreach (var name in (string[])["map", "data", "meta.json"])
        {
            File.Delete(Path.Combine(_scene.Entry, name));
            System.Diagnostics.Process.Start("mkfifo", Path.Combine(_scene.Entry, name)).WaitForExit();
            using var cache = _scene.Open();
            Assert.Equal(0, cache.StoredBytes);
        }
    }

    [Fact]
    public void An_entry_that_is_a_link_is_refused()
    {
        FillAll();
        Directory.Move(_scene.Entry, Path.Combine(_scene.Settings.Directory, "moved"));
        Directory.CreateSymbolicLink(_scene.Entry, Path.Combine(_scene.Settings.Directory, "moved"));
        Assert.Null(_scene.TryOpen());
        Assert.Contains(_scene.Entry, Assert.Single(_scene.Reports), StringComparison.Ordinal);
        Assert.Null(CacheDirectory.FindNewest(_scene.Settings.Directory, _scene.Key.Name));
    }

    /// <summary>All of its files are sound and go with each other: they are of another base, or of other chunks.</summary>
    [Theory]
    [InlineData("\"v2\"", Chunk)]
    [InlineData("\"v1\"", 2 * Chunk)]
    public void An_entry_under_the_name_of_another_is_replaced(string version, int chunkBytes)
    {
        var (settings, wanted) = (_scene.Settings, _scene.Entry);
        var key = _scene.Key with { Version = version };
        _scene.Settings = settings with { ChunkBytes = chunkBytes };
        using (var other = _scene.TryOpen(key))
            _scene.Fill(other!, 0);
        Directory.Move(Path.Combine(settings.Directory, key.EntryName(chunkBytes)), wanted);
        _scene.Settings = settings;
        using (var directory = CacheDirectory.Open(settings.Directory, make: false))
            Assert.Null(EntryFiles.TryOpen(directory!.Root, Path.GetFileName(wanted)));
        Assert.Null(CacheDirectory.FindNewest(settings.Directory, key.Name));

        using var cache = _scene.Open();
        Assert.Equal(0, cache.StoredBytes);
        _scene.Fill(cache, 0);
        Assert.True(_scene.Has(cache, 0));
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("null")]
    [InlineData("{\"name\":1,\"version\":\"\",\"length\":1e400}")]
    [InlineData("{\"name\":\"a\",\"version\":\"b\",\"length\":9223372036854775807,\"chunk-bytes\":262144,\"made\":0,\"confirmed\":0}")]
    [InlineData("{\"name\":\"a\",\"version\":\"b\",\"length\":-1,\"chunk-bytes\":262144,\"made\":0,\"confirmed\":0}")]
    [InlineData("{\"name\":\"a\",\"version\":\"b\",\"length\":1,\"chunk-bytes\":3,\"made\":0,\"confirmed\":0}")]
    [InlineData("{\"name\":\"a\",\"version\":\"b\",\"length\":1,\"chunk-bytes\":4294967296,\"made\":0,\"confirmed\":0}")]
    [InlineData("{\"name\":\"\\ud800\",\"version\":\"b\",\"length\":1,\"chunk-bytes\":65536,\"made\":0,\"confirmed\":0}")]
    public void A_label_that_is_not_ours_is_replaced(string json)
    {
        FillAll();
        File.WriteAllText(Path.Combine(_scene.Entry, "meta.json"), json);
        Assert.Null(CacheLabel.Parse(Encoding.UTF8.GetBytes(json)));
        Assert.Null(CacheDirectory.FindNewest(_scene.Settings.Directory, _scene.Key.Name));
        using var cache = _scene.Open();
        Assert.Equal(0, cache.StoredBytes);
    }

    [Fact]
    public void Words_of_chance_lead_to_no_wrong_byte()
    {
        FillAll();
        var map = Path.Combine(_scene.Entry, "map");
        var random = new Random(13);
        for (var round = 0; round < 200; round++)
        {
            using (var file = File.OpenWrite(map))
            {
                file.Position = 4096;
                var words = new byte[8 * Chunks];
                random.NextBytes(words);
                for (var i = 0; i < words.Length; i += 8)
                    words[i] = (byte)(round % 3 == 0 ? words[i] : words[i] & 3);
                file.Write(words);
                file.Position = 8192;
                random.NextBytes(words);
                file.Write(words);
            }

            using var cache = _scene.Open();
            for (var chunk = 0; chunk < Chunks; chunk++)
            {
                if (_scene.Has(cache, chunk) || !cache.IsStored(chunk))
                    _ = _scene.Has(cache, chunk) || _scene.Claim(cache, chunk) == 0 || _scene.Store(cache, chunk) == 1;
                Assert.True(!cache.IsStored(chunk) || _scene.Has(cache, chunk) || cache.IsGivenUp);
            }
        }
    }

    [Fact]
    public void A_damaged_entry_in_use_is_left_alone()
    {
        using var user = _scene.Open();
        _scene.Fill(user, 0, 1);
        File.Delete(Path.Combine(_scene.Entry, "meta.json"));
        Assert.Null(_scene.TryOpen());
        Assert.Contains("another process is using it", Assert.Single(_scene.Reports), StringComparison.Ordinal);
        Assert.True(_scene.Has(user, 0) && _scene.Has(user, 1));
    }

    [Fact]
    public void A_directory_that_others_can_write_is_refused()
    {
        Directory.CreateDirectory(_scene.Settings.Directory);
        foreach (var others in (UnixFileMode[])[UnixFileMode.GroupWrite, UnixFileMode.OtherWrite])
        {
            File.SetUnixFileMode(_scene.Settings.Directory,
                UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute | others);
            Assert.Null(_scene.TryOpen());
        }

        Assert.All(_scene.Reports, report => Assert.Contains("others could put wrong bytes", report, StringComparison.Ordinal));
        Assert.Equal(2, _scene.Reports.Count);
    }

    [Fact]
    public void A_directory_of_another_user_is_refused()
    {
        Assert.SkipUnless(Unistd.EffectiveUser() == 0, "only root can give a directory away");
        Directory.CreateDirectory(_scene.Settings.Directory);
        var descriptor = Files.Open(_scene.Settings.Directory, 0);
        Assert.Equal(0, Files.ChangeOwner(descriptor, 65534, 65534));
        Files.Close(descriptor);
        Assert.Null(_scene.TryOpen());
        Assert.Contains("belongs to user 65534", Assert.Single(_scene.Reports), StringComparison.Ordinal);
    }

    [Fact]
    public void A_new_directory_is_its_owners_alone()
    {
        using var cache = _scene.Open();
        foreach (var path in (string[])[_scene.Settings.Directory, _scene.Entry])
        {
            Assert.Equal(
                UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(path));
        }

        foreach (var file in Directory.GetFiles(_scene.Entry))
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
    }

    [Fact]
    public void A_directory_that_cannot_be_made_is_reported_and_no_error()
    {
        File.WriteAllText(_scene.Settings.Directory, "a file");
        Assert.Null(_scene.TryOpen());
        Assert.Contains(_scene.Settings.Directory, Assert.Single(_scene.Reports), StringComparison.Ordinal);
    }

    [Fact]
    public void A_base_that_is_too_large_for_its_chunks_is_reported()
    {
        Assert.Null(_scene.TryOpen(_scene.Key with { Length = (long)Chunk * ((1L << 26) + 1) }));
        Assert.Contains("take larger ones", Assert.Single(_scene.Reports), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(CacheKey.MaxCharacters, 4, true)]
    [InlineData(CacheKey.MaxCharacters + 1, 4, false)]
    [InlineData(30, CacheKey.MaxCharacters, true)]
    [InlineData(30, CacheKey.MaxCharacters + 1, false)]
    public void A_name_or_version_that_no_label_holds_is_reported(int name, int version, bool isOpened)
    {
        var key = _scene.Key with { Name = "https://" + new string('n', name - 8), Version = new string('v', version) };
        using var cache = _scene.TryOpen(key);
        Assert.Equal(isOpened, cache is not null);
        if (!isOpened)
            Assert.Contains("more than 4096 characters", Assert.Single(_scene.Reports), StringComparison.Ordinal);
        Assert.Equal(isOpened, CacheDirectory.FindNewest(_scene.Settings.Directory, key.Name) is not null);
    }

    [Fact]
    public void More_than_sixteen_wrong_chunks_end_the_use_of_an_entry()
    {
        using var scene = new CacheScene(20L * Chunk);
        using (var cache = scene.Open())
            scene.Fill(cache, [.. Enumerable.Range(0, 20).Select(chunk => (long)chunk)]);
        File.WriteAllBytes(Path.Combine(scene.Entry, "data"), new byte[20 * Chunk]);
        using var again = scene.Open();
        for (var chunk = 0; chunk < 17; chunk++)
        {
            Assert.False(again.IsGivenUp);
            Assert.Null(scene.ReadChunk(again, chunk));
        }

        Assert.True(again.IsGivenUp);
        Assert.Single(scene.Reports);
        Assert.False(again.IsStored(19));
        Assert.Equal(1, scene.Claim(again, 19));
        Assert.Equal(0, scene.Store(again, 19));
    }

    public void Dispose() => _scene.Dispose();

    private void FillAll()
    {
        using var cache = _scene.Open();
        for (var chunk = 0; chunk < Chunks; chunk++)
            _scene.Fill(cache, chunk);
    }

    private static void Change(string path, long offset, Func<byte, byte> change)
    {
        using var file = File.Open(path, FileMode.Open);
        file.Position = offset;
        var value = (byte)file.ReadByte();
        file.Position = offset;
        file.WriteByte(change(value));
    }
}
