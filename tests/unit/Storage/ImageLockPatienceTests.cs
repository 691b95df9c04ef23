using System;
using System.Collections.Generic;
using System.Diagnostics;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Shared.Simulation;
using Qcow2Blk.Tests.Support;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Storage;

/// <summary>A lock that a dead server left is waited for; one that somebody alive holds is refused at once. Time is virtual.</summary>
public sealed class ImageLockPatienceTests : IDisposable
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(5);

    private readonly Shared.TempDirectory _directory = new();
    private readonly SimulatedLoop _loop = new(1);
    private readonly List<string> _said = [];
    private readonly ImageLockPatience _patience;
    private readonly string _image;
    private readonly int _ours;

    public ImageLockPatienceTests()
    {
        _image = _directory.File("disk.qcow2");
        System.IO.File.WriteAllBytes(_image, new byte[4096]);
        _ours = Open();
        _patience = new ImageLockPatience(s_limit, _said.Add);
    }

    public void Dispose()
    {
        Unistd.Close(_ours);
        _loop.Dispose();
        _directory.Dispose();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Lock_that_no_process_has_open_is_taken_once_it_is_let_go(bool write)
    {
        using var dead = new DeadHolder(_image);
        var taking = _patience.AcquireAsync(_ours, _image, write);
        LetPass(1000);
        Assert.False(taking.IsCompleted);
        var pauses = _patience.Pauses;
        var said = Assert.Single(_said);
        Assert.Contains($"{_image} is locked", said);
        Assert.Contains("waiting up to 5 s", said);

        dead.LetGo();

        Assert.True(_loop.RunUntilComplete(taking).Held);
        Assert.Equal(pauses, _patience.Pauses);
        Assert.Single(_said);
    }

    [Fact]
    public void Lock_that_is_never_let_go_is_refused_after_the_time_with_what_can_be_done()
    {
        using var dead = new DeadHolder(_image);

        var refused = Assert.Throws<ImageLockedException>(() => _loop.RunUntilComplete(_patience.AcquireAsync(_ours, _image, write: true)));

        Assert.Equal(("another process", false, s_limit), (refused.Holder, refused.HolderLives, refused.Waited));
        Assert.InRange(_loop.Now, 1, 5000); // What the search for the holder takes counts too.
        AssertNothingIsHeld(dead);
    }

    [Fact]
    public void All_locks_of_a_chain_are_waited_for_together()
    {
        using var dead = new DeadHolder(_image);
        Assert.Throws<ImageLockedException>(() => _loop.RunUntilComplete(_patience.AcquireAsync(_ours, _image, write: true)));
        var pauses = _patience.Pauses;

        Assert.Throws<ImageLockedException>(() => _loop.RunUntilComplete(_patience.AcquireAsync(_ours, _image, write: true)));

        Assert.Equal(pauses, _patience.Pauses);
    }

    [Fact]
    public void Holder_in_another_process_that_lives_is_refused_without_a_wait()
    {
        // Locks bytes 100, 201 and so on, as a writer of qemu's does, and says so.
        var start = new ProcessStartInfo("qemu-io", ["-f", "raw", _image]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        using var holder = Process.Start(start)!;
        holder.StandardInput.WriteLine("length");
        holder.StandardOutput.ReadLine();

        var refused = Assert.Throws<ImageLockedException>(() => _loop.RunUntilComplete(_patience.AcquireAsync(_ours, _image, write: true)));

        Assert.Equal((true, TimeSpan.Zero, 0), (refused.HolderLives, refused.Waited, _patience.Pauses));
        Assert.Equal($"qemu-io (process {holder.Id})", refused.Holder);
        Assert.Empty(_said);
        holder.Kill();
        holder.WaitForExit();
    }

    [Fact]
    public void Holder_in_this_process_is_refused_without_a_wait()
    {
        var other = Open();
        ImageLock.Acquire(other, _image, write: true);

        var refused = Assert.Throws<ImageLockedException>(() => _loop.RunUntilComplete(_patience.AcquireAsync(_ours, _image, write: true)));

        Assert.Equal(("this process", true, 0), (refused.Holder, refused.HolderLives, _patience.Pauses));
        Unistd.Close(other);
    }

    [Fact]
    public void Process_that_has_the_file_open_without_a_lock_does_not_end_the_wait()
    {
        using var dead = new DeadHolder(_image);
        var reader = Open();
        var taking = _patience.AcquireAsync(_ours, _image, write: true);
        LetPass(100);
        dead.LetGo();
        Assert.True(_loop.RunUntilComplete(taking).Held);
        Unistd.Close(reader);
    }

    private void AssertNothingIsHeld(DeadHolder dead)
    {
        dead.LetGo();
        var other = Open();
        Assert.True(ImageLock.Acquire(other, _image, write: true).Held);
        Unistd.Close(other);
    }

    private void LetPass(long milliseconds)
    {
        while (_loop.Now < milliseconds)
            Assert.True(_loop.Step());
    }

    private int Open() => Fcntl.Open(_image, O_RDWR | O_CLOEXEC, 0);
}
