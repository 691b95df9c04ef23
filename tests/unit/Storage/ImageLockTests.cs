using System;
using System.Diagnostics;
using System.IO;
using System.Threading;
using Qcow2Blk.Interop;
using Qcow2Blk.Storage;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Storage;

/// <summary>Our locks against qemu's own programs, in both directions.</summary>
public sealed class ImageLockTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("q2b-lock-").FullName;
    private readonly string _image;

    public ImageLockTests()
    {
        _image = Path.Combine(_folder, "disk.qcow2");
        Assert.Equal(0, Run("qemu-img", out _, "create", "-q", "-f", "qcow2", _image, "1M"));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Qemu_may_not_write_or_read_what_we_write()
    {
        using var held = new Held(_image, write: true);
        Assert.NotEqual(0, Run("qemu-io", out var write, "-f", "qcow2", "-c", "write 0 4k", _image));
        Assert.Contains("Failed to get \"write\" lock", write, StringComparison.Ordinal);
        Assert.NotEqual(0, Run("qemu-img", out var read, "check", _image));
        Assert.Contains("Failed to get shared \"write\" lock", read, StringComparison.Ordinal);
    }

    [Fact]
    public void Qemu_may_read_but_not_write_what_we_read()
    {
        using var held = new Held(_image, write: false);
        Assert.Equal(0, Run("qemu-img", out _, "check", _image));
        Assert.NotEqual(0, Run("qemu-io", out var write, "-f", "qcow2", "-c", "write 0 4k", _image));
        Assert.Contains("lock", write, StringComparison.Ordinal);
    }

    [Fact]
    public void Released_image_is_qemus_until_it_is_reacquired()
    {
        using var held = new Held(_image, write: true);
        held.Lock.Release();
        Assert.Equal(0, Run("qemu-io", out _, "-f", "qcow2", "-c", "write 0 4k", _image));
        Assert.Equal(0, Run("qemu-img", out _, "snapshot", "-c", "one", _image));
        held.Lock.Reacquire();
        Assert.True(held.Lock.Held);
        Assert.NotEqual(0, Run("qemu-img", out _, "snapshot", "-c", "two", _image));
    }

    [Theory]
    [InlineData(false, true, true)]
    [InlineData(false, false, true)]
    [InlineData(true, true, true)]
    [InlineData(true, false, false)]
    public void What_qemu_nbd_serves_is_refused_by_name(bool qemuReadOnly, bool weWrite, bool refused)
    {
        using var server = new QemuNbd(_image, Path.Combine(_folder, "nbd.sock"), qemuReadOnly);
        if (!refused)
        {
            using var held = new Held(_image, weWrite);
            Assert.True(held.Lock.Held);
            return;
        }

        var error = Assert.Throws<ImageLockedException>(() => new Held(_image, weWrite).Dispose());
        Assert.Equal($"qemu-nbd (process {server.Pid})", error.Holder);
        Assert.StartsWith($"{_image} is in use by qemu-nbd", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Refused_lock_leaves_no_byte_locked()
    {
        using (new Held(_image, write: false))
            Assert.Throws<ImageLockedException>(() => new Held(_image, write: true).Dispose());
        Assert.Equal(0, Run("qemu-io", out _, "-f", "qcow2", "-c", "write 0 4k", _image));
    }

    [Fact]
    public void Two_of_our_writers_exclude_each_other_and_readers_share()
    {
        using (new Held(_image, write: true))
            Assert.Equal("this process", Assert.Throws<ImageLockedException>(() => new Held(_image, write: true).Dispose()).Holder);
        using var first = new Held(_image, write: false);
        using var second = new Held(_image, write: false);
        Assert.True(first.Lock.Held && second.Lock.Held);
    }

    [Fact]
    public void Snapshot_is_read_beside_a_writer_who_knows_of_it()
    {
        using var writer = new Held(_image, write: true);
        Assert.Null(writer.Lock.FindReader());
        using (var reader = new Held(_image, write: false, besideWriter: true))
        {
            Assert.True(reader.Lock.Held);
            Assert.Equal("this process", writer.Lock.FindReader()?.Name);
            Assert.Throws<ImageLockedException>(() => new Held(_image, write: true).Dispose());
        }

        Assert.Null(writer.Lock.FindReader());
    }

    [Fact]
    public void Exclusive_lock_of_a_foreign_program_is_in_the_way()
    {
        var fd = Fcntl.Open(_image, O_RDWR | O_CLOEXEC, 0);
        Assert.Equal(0, Fcntl.SetLock(fd, F_WRLCK, 0, 1000));
        Assert.Throws<ImageLockedException>(() => new Held(_image, write: false).Dispose());
        // By hand: a process that another test is starting may hold the description a little longer than we do.
        Assert.Equal(0, Fcntl.SetLock(fd, F_UNLCK, 0, 1000));
        Unistd.Close(fd);
        new Held(_image, write: false).Dispose();
    }

    private static int Run(string program, out string error, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true };
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEnd();
        error = process.StandardError.ReadToEnd() + output;
        process.WaitForExit();
        return process.ExitCode;
    }

    private sealed class Held : IDisposable
    {
        private readonly int _fd;

        internal Held(string path, bool write, bool besideWriter = false)
        {
            _fd = Fcntl.Open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC, 0);
            try
            {
                Lock = ImageLock.Acquire(_fd, path, write, besideWriter);
            }
            catch
            {
                Unistd.Close(_fd);
                throw;
            }
        }

        internal ImageLock Lock { get; }

        /// <summary>By hand first: a process that another test is starting may hold the description a little longer than we do.</summary>
        public void Dispose()
        {
            Lock.Release();
            Unistd.Close(_fd);
        }
    }

    private sealed class QemuNbd : IDisposable
    {
        private readonly Process _process;

        internal QemuNbd(string image, string socket, bool readOnly)
        {
            // The socket appears before the image is opened, the pid file after.
            string[] arguments = ["-t", "-f", "qcow2", "-k", socket, "--pid-file", socket + ".pid", .. readOnly ? (string[])["-r"] : [],
                image];
            _process = Process.Start(new ProcessStartInfo("qemu-nbd", arguments))!;
            Assert.True(SpinWait.SpinUntil(() => File.Exists(socket + ".pid"), 10_000));
        }

        internal int Pid => _process.Id;

        public void Dispose()
        {
            _process.Kill();
            _process.WaitForExit();
            _process.Dispose();
        }
    }
}
