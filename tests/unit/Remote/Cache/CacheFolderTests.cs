using System;
using System.Diagnostics;
using System.IO;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote.Cache;
using Qcow2Blk.Tests.Shared;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Remote.Cache;

/// <summary>What is opened in the directory of a cache: ordinary files of this user with one name, and directories of this user.</summary>
public sealed class CacheFolderTests : IDisposable
{
    private readonly TempDirectory _place = new();
    private readonly CacheFolder _folder;

    public CacheFolderTests()
    {
        _folder = CacheFolder.OpenRoot(_place.File("cache"), make: true)!;
        File.WriteAllText(Path.Combine(_folder.Path, "file"), "text");
    }

    public void Dispose()
    {
        _folder.Dispose();
        _place.Dispose();
    }

    [Fact]
    public void An_ordinary_file_is_opened_and_a_missing_one_is_not()
    {
        Assert.True(Opens("file", O_RDONLY));
        Assert.True(Opens("file", O_RDWR));
        Assert.True(Opens("new", O_RDWR | O_CREAT));
        Assert.Equal(-Errno.ENOENT, _folder.OpenFile("missing", O_RDONLY));
        Assert.Null(_folder.OpenFolder("missing", make: false));
    }

    [Fact]
    public void A_link_of_either_kind_is_refused()
    {
        var path = Path.Combine(_folder.Path, "file");
        File.CreateSymbolicLink(Path.Combine(_folder.Path, "symbolic"), path);
        Assert.Equal(-Errno.ELOOP, _folder.OpenFile("symbolic", O_RDWR));
        Assert.Equal(-Errno.ELOOP, _folder.OpenFile("symbolic", O_RDWR | O_CREAT));
        Assert.Equal(0, Unistd.Link(path, Path.Combine(_folder.Path, "hard")));
        Assert.Equal(-Errno.ELOOP, _folder.OpenFile("hard", O_RDWR));
        Assert.Equal(-Errno.ELOOP, _folder.OpenFile("file", O_RDWR));
    }

    [Fact]
    public void What_is_not_a_file_is_refused_and_keeps_nobody_waiting()
    {
        using (var make = Process.Start("mkfifo", Path.Combine(_folder.Path, "pipe")))
            make.WaitForExit();
        Directory.CreateDirectory(Path.Combine(_folder.Path, "directory"));
        Assert.Equal(-Errno.ELOOP, _folder.OpenFile("pipe", O_RDONLY));
        Assert.Equal(-Errno.ELOOP, _folder.OpenFile("pipe", O_RDWR));
        Assert.Equal(-Errno.ELOOP, _folder.OpenFile("directory", O_RDONLY));
        Assert.Throws<IOException>(() => _folder.OpenFolder("file", make: false));
    }

    [Fact]
    public void What_belongs_to_another_user_is_refused()
    {
        Assert.SkipUnless(Unistd.EffectiveUser() == 0, "only root can give a file away");
        Directory.CreateDirectory(Path.Combine(_folder.Path, "directory"));
        foreach (var name in (string[])["file", "directory"])
        {
            var descriptor = Files.Open(Path.Combine(_folder.Path, name), O_RDONLY | O_CLOEXEC);
            Assert.Equal(0, Files.ChangeOwner(descriptor, 65534, 65534));
            Files.Close(descriptor);
        }

        Assert.Equal(-Errno.ELOOP, _folder.OpenFile("file", O_RDWR));
        Assert.Throws<IOException>(() => _folder.OpenFolder("directory", make: false));
        Assert.Throws<IOException>(() => _folder.OpenFolder("directory", make: true));
    }

    /// <summary>Whatever else lies there is not ours to look at.</summary>
    [Fact]
    public void Entries_are_called_by_64_digits()
    {
        var name = new string('0', 63) + "f";
        foreach (var other in (string[])[name, name[1..], name + "0", new string('0', 63) + "F", new string('0', 63) + "g", "lock"])
            Directory.CreateDirectory(Path.Combine(_folder.Path, other));
        Assert.Equal([name], _folder.EntryNames());
    }

    private bool Opens(string name, int flags)
    {
        var descriptor = _folder.OpenFile(name, flags);
        return descriptor >= 0 && Files.Close(descriptor) == 0;
    }
}
