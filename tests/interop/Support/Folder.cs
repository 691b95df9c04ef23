using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Security.Cryptography;

namespace Qcow2Blk.Tests.Interop;

/// <summary>
/// The files and devices of one test: a directory in memory and a runtime directory of its own. When it ends, servers
/// that the test left are killed and everything is removed.
/// </summary>
internal sealed class Folder : IDisposable
{
    private readonly string _path;
    private readonly List<IDisposable> _owned = [];

    public Folder()
    {
        var root = Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath();
        // Short: the path of a unix socket holds 107 bytes.
        _path = Path.Combine(root, $"q2b-{Guid.NewGuid():N}"[..16]);
        Directory.CreateDirectory(_path);
        Directory.CreateDirectory(RuntimeDirectory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    public string RuntimeDirectory => File("run");

    public string File(string name) => Path.Combine(_path, name);

    public string Sub(string name) => Directory.CreateDirectory(File(name)).FullName;

    /// <summary>An image made by qemu-img create.</summary>
    public string Image(string name, string size, string options = "")
    {
        var path = File(name);
        if (options.Length == 0)
            Run.QemuImg("create", "-q", "-f", "qcow2", path, size);
        else
            Run.QemuImg("create", "-q", "-f", "qcow2", "-o", options, path, size);
        return path;
    }

    /// <summary>An overlay made by qemu-img create, with the base's name as given.</summary>
    public string Overlay(string name, string backing, string backingFormat = "qcow2", string? size = null, string options = "")
    {
        var path = File(name);
        List<string> arguments = ["create", "-q", "-f", "qcow2", "-b", backing, "-F", backingFormat];
        if (options.Length > 0)
            arguments.AddRange(["-o", options]);
        arguments.Add(path);
        if (size is not null)
            arguments.Add(size);
        Run.QemuImg([.. arguments]);
        return path;
    }

    /// <summary>What the disk in an image holds, as qemu-img sees it.</summary>
    public string Raw(string image, string name, params string[] options)
    {
        var path = File(name);
        Run.QemuImg(["convert", "-f", "qcow2", "-O", "raw", .. options, image, path]);
        return path;
    }

    /// <summary>The SHA-256 of a file's bytes.</summary>
    public static string Hash(string path)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        return Convert.ToHexString(SHA256.HashData(file));
    }

    internal T Own<T>(T owned) where T : IDisposable
    {
        _owned.Add(owned);
        return owned;
    }

    public void Dispose()
    {
        foreach (var owned in Enumerable.Reverse(_owned))
            owned.Dispose();
        Directory.Delete(_path, recursive: true);
    }
}
