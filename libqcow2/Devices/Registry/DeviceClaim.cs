using System;
using System.IO;
using System.Runtime.InteropServices;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Exports.NbdSocket;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Interop;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Registry;

/// <summary>
/// A name that is ours for as long as this process lives. The claim is a lock on the state file: the kernel drops it
/// when the process dies, whatever the reason, so "the server is alive" is never guessed from a process number.
/// </summary>
/// <remarks>
/// A state file is locked before it gets its name, so nobody ever sees one of a living server unlocked. Whoever removes it
/// by hand ends the claim: another server may have the name from then on, and with it the names of socket and log.
/// </remarks>
internal sealed class DeviceClaim : IDisposable
{
    private readonly RuntimeDirectory _directory;
    private readonly int _lease;
    private int _fd;

    private DeviceClaim(RuntimeDirectory directory, string name, int fd)
    {
        _directory = directory;
        Name = name;
        _fd = fd;
        _lease = directory.KeepFromAging();
    }

    public string Name { get; }

    /// <summary>Takes the name of <paramref name="record"/> if it is free, or dead and <paramref name="replaceDead"/> says so.</summary>
    /// <returns>null if the name is taken</returns>
    /// <exception cref="OutcomeException">the directory cannot be written</exception>
    public static DeviceClaim? TryTake(RuntimeDirectory directory, DeviceRecord record, Predicate<DeviceRecord?> replaceDead)
    {
        ArgumentNullException.ThrowIfNull(directory);
        ArgumentNullException.ThrowIfNull(record);
        ArgumentNullException.ThrowIfNull(replaceDead);
        var path = directory.StateFileOf(record.Name);
        var draft = WriteDraft(directory, record, out var fd);
        if (Unistd.Link(draft, path) == 0)
        {
            _ = Unistd.Unlink(draft);
            return new DeviceClaim(directory, record.Name, fd);
        }

        if (TryReplace(path, draft, replaceDead))
            return new DeviceClaim(directory, record.Name, fd);
        _ = Unistd.Unlink(draft);
        _ = Unistd.Close(fd);
        return null;
    }

    /// <summary>Replaces the state file, for instance to add the URI.</summary>
    /// <exception cref="OutcomeException">it cannot be written, or somebody removed it and another server has the name</exception>
    public void Publish(DeviceRecord record)
    {
        ArgumentNullException.ThrowIfNull(record);
        string path = _directory.StateFileOf(Name), draft = WriteDraft(_directory, record, out var fd);
        // Ours cannot be taken while we live. Removed by hand it is made again, unless somebody was quicker.
        var error = IsStill(_fd, path) ? Errno.Of(Unistd.Rename(draft, path)) : Errno.Of(Unistd.Link(draft, path));
        if (error < 0)
        {
            _ = Unistd.Unlink(draft);
            _ = Unistd.Close(fd);
            throw error == -Errno.EEXIST
                ? new OutcomeException(OutcomeKind.Busy, $"cannot write {path}", "it was removed, and another server has that name now")
                : Failed(path, error);
        }

        _ = Unistd.Unlink(draft); // The draft's name is left after a link only.
        _ = Unistd.Close(_fd);
        _fd = fd;
    }

    /// <summary>Removes socket and state file, and gives the name back.</summary>
    public void Dispose()
    {
        if (_fd < 0)
            return;
        // Only while the name is ours: else these are another server's, its log the only copy of what its users wrote.
        if (IsStill(_fd, _directory.StateFileOf(Name)))
        {
            _ = Unistd.Unlink(_directory.SocketOf(Name));
            _ = Unistd.Unlink(_directory.LogOf(Name));
            ShadowFile.Remove(_directory.LogOf(Name));
            _ = Unistd.Unlink(_directory.StateFileOf(Name));
        }

        Leave();
    }

    /// <summary>Gives the name back but leaves the state file: whoever takes the device over needs it.</summary>
    public void Leave()
    {
        if (_fd < 0)
            return;
        _ = Unistd.Close(_fd);
        if (_lease >= 0)
            _ = Unistd.Close(_lease);
        _fd = -1;
    }

    /// <summary>Whether the process that wrote this state file lives.</summary>
    internal static bool IsHeld(string stateFile)
    {
        while (true)
        {
            var fd = Fcntl.Open(stateFile, O_RDONLY | O_CLOEXEC, 0);
            if (fd < 0)
                return false;
            var held = Fcntl.TestLock(fd, F_WRLCK, 0, 1, out _) == 1;
            // A free lock on a file that was replaced meanwhile says nothing about its successor.
            var decided = held || IsStill(fd, stateFile);
            _ = Unistd.Close(fd);
            if (decided)
                return held;
        }
    }

    /// <summary>Removes what a dead server left.</summary>
    /// <param name="directory">where</param>
    /// <param name="name">of the device</param>
    /// <param name="onlyNeverReady">only if clients could never connect to it</param>
    /// <returns>false if it is alive, or somebody else was quicker</returns>
    internal static bool RemoveDead(RuntimeDirectory directory, string name, bool onlyNeverReady = false)
    {
        var path = directory.StateFileOf(name);
        var fd = LockDead(path);
        if (fd < 0)
            return false;
        var record = DeviceRecord.TryRead(path);
        if (onlyNeverReady && (record is not { IsNeverReady: true } || RecoveryLog.HasRecords(directory.LogOf(name))))
        {
            _ = Unistd.Close(fd);
            return false;
        }

        if (record is not null)
            RemoveLeftovers(record);
        _ = Unistd.Unlink(directory.SocketOf(name));
        _ = Unistd.Unlink(directory.LogOf(name));
        ShadowFile.Remove(directory.LogOf(name));
        _ = Unistd.Unlink(path);
        _ = Unistd.Close(fd);
        return true;
    }

    /// <summary>A dead server's NBD socket and pid file, unless they are somebody else's by now.</summary>
    private static void RemoveLeftovers(DeviceRecord record)
    {
        if (record.Options.SocketPath is { } socket)
            SocketFile.RemoveDead(socket, record.SocketIdentity);
        if (record.Options.PidFile is { } pidFile)
            PidFile.RemoveDead(pidFile, record.Pid);
    }

    private static bool TryReplace(string path, string draft, Predicate<DeviceRecord?> replaceDead)
    {
        var dead = LockDead(path);
        if (dead < 0)
            return false;
        var replaced = replaceDead(DeviceRecord.TryRead(path)) && Unistd.Rename(draft, path) == 0;
        _ = Unistd.Close(dead);
        return replaced;
    }

    /// <summary>Locks a state file that nobody holds, and makes sure that it still is the file of that name.</summary>
    private static int LockDead(string path)
    {
        var fd = Fcntl.Open(path, O_RDWR | O_CLOEXEC, 0);
        if (fd < 0)
            return -1;
        if (Fcntl.SetLock(fd, F_WRLCK, 0, 1) == 0 && IsStill(fd, path))
            return fd;
        _ = Unistd.Close(fd);
        return -1;
    }

    private static bool IsStill(int fd, string path) =>
        Stat.OfFile(fd, out var opened) == 0
            && Stat.OfPath(path, out var named) == 0
            && opened.SameFileAs(named);

    private static string WriteDraft(RuntimeDirectory directory, DeviceRecord record, out int fd)
    {
        var draft = Path.Combine(directory.Path, $".{record.Name}.{Environment.ProcessId}.{Guid.NewGuid():n}");
        fd = Fcntl.Open(draft, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0x180);
        if (fd < 0)
            throw Failed(directory.StateFileOf(record.Name), Errno.Of(fd));
        var result = Fcntl.SetLock(fd, F_WRLCK, 0, 1);
        if (result == 0)
            result = Unistd.WriteAll(fd, record.ToJson());

        // /run does not outlive the power, other directories do: there it must not be half a file. Where nothing can be synced, nothing
        // is lost.
        if (result == 0)
            _ = Files.Sync(fd);
        if (result == 0)
            return draft;
        _ = Unistd.Close(fd);
        _ = Unistd.Unlink(draft);
        throw Failed(directory.StateFileOf(record.Name), result);
    }

    private static OutcomeException Failed(string path, int errno) =>
        new(OutcomeKind.Failed, $"cannot write {path}", Errno.Text(errno)) { IsRuntimeDirectory = RuntimeDirectory.IsLasting(errno) };
}
