using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;
using Qcow2Blk.Interop;
using Qcow2Blk.Uring;
using static Qcow2Blk.Interop.Ublk;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>
/// <c>/dev/ublk-control</c>: makes, starts, stops and deletes ublk devices. Every command returns 0 or a negative
/// errno, and -ETIMEDOUT if the kernel does not answer in time. Safe from any thread, one command after the other;
/// never from a thread that serves the device's requests (starting and stopping wait for those).
/// </summary>
/// <remarks>
/// Commands are sent in their ioctl encoding only, so Linux 6.4 is the oldest that understands them. To a device
/// that an unprivileged user made, each command carries the path of its character device, by which the kernel
/// checks the rights of the sender.
/// </remarks>
internal sealed partial class UblkControl : IDisposable
{
    public const string Path = "/dev/ublk-control";

    /// <summary>For commands that only look or set: they wait for nothing but other commands.</summary>
    public static readonly TimeSpan ShortTime = TimeSpan.FromSeconds(10);

    /// <summary>For commands that wait for requests, queues or openers, and for ADD_DEV.</summary>
    public static readonly TimeSpan LongTime = TimeSpan.FromSeconds(30);

    private readonly Lock _lock = new();
    private readonly int _fd;
    private readonly Dictionary<uint, bool> _needsPath = [];
    private CommandRing _ring;
    private int _givenUp;

    private UblkControl(int fd, CommandRing ring)
    {
        _fd = fd;
        _ring = ring;
    }

    /// <summary>Opens the control node.</summary>
    /// <exception cref="ExportRefusedException">there is none, or it may not be used: with the reason</exception>
    public static UblkControl Open()
    {
        var result = TryOpen(out var control, out var step);
        return control ?? throw UblkRefusals.OfOpen(step, result, UblkHost.OfThis());
    }

    /// <returns>0 and the control node, or a negative errno and what it came from</returns>
    internal static int TryOpen(out UblkControl? control, out UblkStep step)
    {
        control = null;
        step = UblkStep.OpenControl;
        var fd = Files.Open(Path, O_RDWR | O_CLOEXEC);
        if (fd < 0)
            return fd;
        step = UblkStep.MakeRing;
        var result = CommandRing.Create(out var ring);
        if (ring is null)
        {
            Files.Close(fd);
            return result;
        }

        control = new UblkControl(fd, ring);
        return 0;
    }

    public void Dispose()
    {
        lock (_lock)
        {
            _ring.Dispose();
            Files.Close(_fd);
        }
    }

    /// <summary>Commands that the kernel still works on although their time was over: each keeps a ring and its memory.</summary>
    public int Unanswered
    {
        get
        {
            lock (_lock)
                return _givenUp + (_ring.IsGivenUp ? 1 : 0);
        }
    }

    /// <summary>Whether commands to this device carry the path of its character device, and must learn it first.</summary>
    private bool NeedsPath(uint device)
    {
        if (_needsPath.TryGetValue(device, out var known))
            return known;
        var result = QueryInfo(device, out var info);
        if (result < 0)
            return false;
        return _needsPath[device] = (info.flags & UBLK_F_UNPRIVILEGED_DEV) != 0;
    }

    /// <summary>A command to a device, without or with data that goes in, out, or both ways.</summary>
    private int ToDevice<T>(uint command, int device, ref T data, TimeSpan? timeout)
        where T : unmanaged
    {
        lock (_lock)
        {
            ublksrv_ctrl_cmd header = new() { dev_id = (uint)device, queue_id = NoQueue };
            return Send(command, header, MemoryMarshal.AsBytes(new Span<T>(ref data)), NeedsPath((uint)device), timeout ?? ShortTime);
        }
    }

    /// <summary>A command to a device whose only argument is a number.</summary>
    private int ToDevice(uint command, int device, ulong number, TimeSpan timeout)
    {
        lock (_lock)
        {
            ublksrv_ctrl_cmd header = new() { dev_id = (uint)device, queue_id = NoQueue, data = number };
            return Send(command, header, [], NeedsPath((uint)device), timeout);
        }
    }

    /// <summary>Lays out the buffer (path of the character device, then data), sends, takes the data back.</summary>
    private int Send(uint command, ublksrv_ctrl_cmd header, Span<byte> data, bool withPath, TimeSpan timeout)
    {
        if (_ring.IsGivenUp)
        {
            var result = CommandRing.Create(out var fresh);
            if (fresh is null)
                return result;
            _ring = fresh;
            _givenUp++;
        }

        var buffer = _ring.Buffer;
        var pathLength = withPath ? Encoding.UTF8.GetBytes(UblkNodes.CharacterPath((int)header.dev_id) + '\0', buffer) : 0;
        data.CopyTo(buffer[pathLength..]);
        if (pathLength + data.Length > 0)
            header.addr = _ring.BufferAddress;
        header.len = (ushort)(pathLength + data.Length);
        header.dev_path_len = (ushort)pathLength;

        var answer = CallPatiently(command, header, timeout);
        if (answer >= 0)
            buffer.Slice(pathLength, data.Length).CopyTo(data);
        return Math.Min(answer, 0);
    }

    /// <summary>Waits in the driver end early (EINTR) when the kernel wakes their thread for something else: asked again.</summary>
    private int CallPatiently(uint command, in ublksrv_ctrl_cmd header, TimeSpan timeout)
    {
        var deadline = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        var payload = MemoryMarshal.AsBytes(new ReadOnlySpan<ublksrv_ctrl_cmd>(in header));
        while (true)
        {
            var left = deadline - Environment.TickCount64;
            var answer = _ring.Call(_fd, command, payload, TimeSpan.FromMilliseconds(Math.Max(left, 0)));
            if (answer != -Errno.EINTR)
                return answer;
            if (left <= 0)
                return -Errno.ETIMEDOUT;
        }
    }
}
