using System;
using System.IO;
using System.Linq;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Storage;

/// <summary>A name that somebody else takes while we remove it: the look that we have at it is where he does so.</summary>
public sealed class OwnNameTests : IDisposable
{
    private readonly TempDirectory _folder = new();
    private readonly string _path;

    public OwnNameTests()
    {
        _path = _folder.File("name");
        File.WriteAllText(_path, "ours");
    }

    public void Dispose() => _folder.Dispose();

    private static bool IsOurs(string path) => File.Exists(path) && File.ReadAllText(path) == "ours";

    private void AssertOnlyNameHolds(string content)
    {
        Assert.Equal(content, File.ReadAllText(_path));
        Assert.Equal(["name"], Directory.GetFileSystemEntries(_folder.Path).Select(Path.GetFileName));
    }

    [Fact]
    public void Own_file_goes_without_a_trace()
    {
        Assert.True(OwnName.Remove(_path, IsOurs));
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public void Other_file_is_not_touched()
    {
        File.WriteAllText(_path, "theirs");
        var before = EntryIdentity.Of(_path);
        Assert.False(OwnName.Remove(_path, name => name == _path ? IsOurs(name) : throw new InvalidOperationException("it was moved")));
        AssertOnlyNameHolds("theirs");
        Assert.Equal(before, EntryIdentity.Of(_path));
    }

    [Fact]
    public void File_that_took_the_name_after_our_look_gets_it_back()
    {
        EntryIdentity? theirs = null;
        Assert.False(OwnName.Remove(_path, name =>
        {
            if (name != _path)
                return IsOurs(name);
            File.Delete(name);
            File.WriteAllText(name, "theirs");
            theirs = EntryIdentity.Of(name);
            return true;
        }));
        AssertOnlyNameHolds("theirs");
        Assert.Equal(theirs, EntryIdentity.Of(_path));
    }

    [Fact]
    public void Directory_that_took_the_name_after_our_look_gets_it_back()
    {
        Assert.False(OwnName.Remove(_path, name =>
        {
            if (name != _path)
                return IsOurs(name);
            File.Delete(name);
            Directory.CreateDirectory(Path.Combine(name, "theirs"));
            return true;
        }));
        Assert.Equal([Path.Combine(_path, "theirs")], Directory.GetFileSystemEntries(_path));
        Assert.Equal([_path], Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public void File_that_took_the_name_while_another_was_aside_keeps_it()
    {
        Assert.False(OwnName.Remove(_path, name =>
        {
            if (name != _path)
                File.WriteAllText(_path, "newest");
            return name == _path;
        }));
        AssertOnlyNameHolds("newest");
    }

    [Fact]
    public void Missing_name_is_no_error() => Assert.False(OwnName.Remove(_folder.File("nothing"), _ => true));
}
