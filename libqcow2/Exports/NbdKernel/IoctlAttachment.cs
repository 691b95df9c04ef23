using System;
using System.Collections.Generic;
using System.IO;
using System.Threading;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>
/// A device configured by ioctl, for kernels whose driver has no netlink interface. A thread stays in the kernel for the
/// device's life; a connection that ends cannot be replaced, so there is one, without a time limit.
/// </summary>
internal sealed class IoctlAttachment : INbdAttachment
{
    private readonly int _node;
    private readonly int _blockSize;
    private readonly ManualResetEventSlim _ended = new();
    private readonly Lock _using = new();
    private int _users = 1; // The thread that carries the device.

    private IoctlAttachment(KernelNbdDevice device, int node, int blockSize)
    {
        Device = device;
        _node = node;
        _blockSize = blockSize;
    }

    public KernelNbdDevice Device { get; }

    public bool CanReconnect => false;

    /// <summary>Makes a device of a socket: the one asked for, or the first that is free.</summary>
    /// <returns>0 or a negative errno: -EBUSY if it is in use, -ENODEV if none is free</returns>
    internal static int Connect(NbdDeviceConfig config, int socket, out IoctlAttachment? attachment)
    {
        attachment = null;
        if (config.Index is { } index)
            return Connect(new KernelNbdDevice(index), config, socket, out attachment);
        foreach (var device in Free())
        {
            var error = Connect(device, config, socket, out attachment);
            if (error != -Errno.EBUSY)
                return error;
        }

        return -Errno.ENODEV;
    }

    public int Reconnect(ReadOnlySpan<int> sockets) => -Errno.EOPNOTSUPP;

    public int Resize(long size) =>
        Control(NbdDevice.NBD_SET_SIZE_BLOCKS, (nint)(size / _blockSize));

    public int Disconnect(bool force, TimeSpan timeout)
    {
        if (_ended.IsSet)
            return 0;
        var error = TimedCall.Run("qcow2blk-nbd", () =>
        {
            // A dead server is not told goodbye: that could wait for it.
            if (!force)
                _ = Control(NbdDevice.NBD_DISCONNECT, 0);
            // The goodbye may have ended it already.
            return Control(NbdDevice.NBD_CLEAR_SOCK, 0) is var error and not -Errno.ENODEV ? error : 0;
        }, timeout);
        return error < 0 ? error : _ended.Wait(timeout) ? 0 : -Errno.ETIMEDOUT;
    }

    public void Dispose()
    {
        // The thread that carries the device closes its node.
    }

    private static int Connect(KernelNbdDevice device, NbdDeviceConfig config, int socket, out IoctlAttachment? attachment)
    {
        attachment = null;
        if (device.IsConfigured)
            return -Errno.EBUSY;
        var node = Files.Open(device.Path, O_RDWR | O_CLOEXEC);
        if (node < 0)
            return node;
        var error = Configure(node, config, socket);
        if (error < 0)
        {
            Files.Close(node);
            return error;
        }

        attachment = new IoctlAttachment(device, node, config.BlockSize);
        return attachment.Run();
    }

    private static int Configure(int node, NbdDeviceConfig config, int socket)
    {
        // The socket first: who has it has the device, and two who try at once are told apart.
        foreach (var (request, argument) in (ReadOnlySpan<(uint, nint)>)
                 [
                     (NbdDevice.NBD_SET_SOCK, socket),
                     (NbdDevice.NBD_SET_BLKSIZE, config.BlockSize),
                     (NbdDevice.NBD_SET_SIZE_BLOCKS, (nint)(config.Size / config.BlockSize)),
                     (NbdDevice.NBD_SET_FLAGS, (nint)config.Flags),
                     (NbdDevice.NBD_SET_TIMEOUT, config.Timeout),
                 ])
        {
            if (NbdDevice.Control(node, request, argument) is var error and < 0)
                return error;
        }

        return 0;
    }

    /// <summary>A command to the device, while its node stays open: by its number another file could be meant.</summary>
    /// <returns>what the kernel answers, or -ENODEV if the device has ended</returns>
    private int Control(uint request, nint argument)
    {
        lock (_using)
        {
            if (_users == 0)
                return -Errno.ENODEV;
            _users++;
        }

        var result = NbdDevice.Control(_node, request, argument);
        Leave();
        return result;
    }

    /// <summary>The last one closes the node: the device is gone only when nobody has it open.</summary>
    private void Leave()
    {
        lock (_using)
        {
            if (--_users == 0)
                Files.Close(_node);
        }
    }

    /// <summary>Lets a thread carry the device, and waits until it is there.</summary>
    private int Run()
    {
        const int patienceMilliseconds = 10_000, stepMilliseconds = 5;
        var result = 0;
        var thread = new Thread(() =>
        {
            Threads.SetName("qcow2blk-nbd");
            Signals.BlockAll(); // One would end the device.
            do
                result = NbdDevice.Control(_node, NbdDevice.NBD_DO_IT, 0);
            while (result == -Errno.EINTR && Device.IsConfigured);
            _ = NbdDevice.Control(_node, NbdDevice.NBD_CLEAR_SOCK, 0);
            Leave();
            _ended.Set();
        })
        { IsBackground = true };
        thread.Start();
        for (var waited = 0; waited < patienceMilliseconds && !Device.IsConfigured; waited += stepMilliseconds)
        {
            if (_ended.Wait(stepMilliseconds))
                return result < 0 ? result : -Errno.EIO;
        }

        return Device.IsConfigured ? 0 : -Errno.ETIMEDOUT;
    }

    private static List<KernelNbdDevice> Free()
    {
        var devices = new List<KernelNbdDevice>();
        foreach (var directory in Directory.GetDirectories("/sys/block", "nbd*"))
        {
            if (KernelNbdDevice.TryParse("/dev/" + Path.GetFileName(directory), out var device) && !device.IsConfigured)
                devices.Add(device);
        }

        devices.Sort((one, other) => one.Index.CompareTo(other.Index));
        return devices;
    }
}
