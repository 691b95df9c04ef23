using System;
using System.Diagnostics;
using System.Threading;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>A device configured by netlink.</summary>
internal sealed class NetlinkAttachment : INbdAttachment
{
    private const string ThreadName = "qcow2blk-nl";
    private static readonly TimeSpan s_callTimeout = TimeSpan.FromSeconds(60);

    // udev opens every node for a moment when the driver is loaded, and the kernel makes no device of one that is open.
    private static readonly TimeSpan s_openNodePatience = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan s_openNodePause = TimeSpan.FromMilliseconds(50);

    private readonly NbdDeviceConfig _config;

    private NetlinkAttachment(NbdDeviceConfig config) => _config = config;

    public KernelNbdDevice Device => new(_config.Index!.Value);

    public bool CanReconnect => true;

    /// <summary>Makes a device of these sockets.</summary>
    /// <param name="text">the kernel's words if it refused</param>
    internal static int Connect(NbdDeviceConfig config, int[] sockets, out NetlinkAttachment? attachment, out string? text)
    {
        var index = -1;
        var started = Stopwatch.GetTimestamp();
        int error;
        while ((error = Timed(netlink => netlink.Connect(config, sockets, out index), out text)) == -Errno.EBUSY
            && IsOnlyOpen(config) && Stopwatch.GetElapsedTime(started) < s_openNodePatience)
        {
            Thread.Sleep(s_openNodePause);
        }

        attachment = error < 0 ? null : new NetlinkAttachment(config with { Index = index });
        return error;
    }

    /// <summary>Takes a device over whose server is gone.</summary>
    internal static int TakeOver(NbdDeviceConfig config, int[] sockets, out NetlinkAttachment? attachment, out string? text)
    {
        var error = Timed(netlink => netlink.Reconfigure(config, sockets), out text);
        attachment = error < 0 ? null : new NetlinkAttachment(config);
        return error;
    }

    public int Reconnect(ReadOnlySpan<int> sockets)
    {
        var list = sockets.ToArray();
        return Timed(netlink => netlink.Reconfigure(_config, list), out _);
    }

    public int Resize(long size) => Timed(netlink => netlink.Resize(Device.Index, _config.Identifier, size), out _);

    public int Disconnect(bool force, TimeSpan timeout) => Disconnect(_config, force, timeout);

    public void Dispose()
    {
        // Every call has a socket of its own: nothing is kept.
    }

    /// <summary>Ends a device, whoever made it.</summary>
    /// <param name="config">its index and identifier</param>
    /// <param name="force">its server is dead, or may be</param>
    /// <param name="timeout">how long it may take</param>
    internal static int Disconnect(NbdDeviceConfig config, bool force, TimeSpan timeout)
    {
        var started = Stopwatch.GetTimestamp();
        if (force && WakeWaiters(config, timeout) is var error and < 0)
            return error;
        var rest = timeout - Stopwatch.GetElapsedTime(started);
        return rest <= TimeSpan.Zero ? -Errno.ETIMEDOUT : Timed(netlink => netlink.Disconnect(config.Index!.Value), out _, rest);
    }

    /// <summary>
    /// Ends the wait of requests for a new connection: some kernels let a disconnect, and with it all of generic netlink,
    /// wait as long. They get a connection that is dead already, and then no time for another.
    /// </summary>
    private static int WakeWaiters(NbdDeviceConfig config, TimeSpan timeout)
    {
        var error = Sockets.Pair(out var ours, out var kernels);
        if (error < 0)
            return error;
        Sockets.Shutdown(ours, SHUT_RDWR);
        error = Timed(netlink => netlink.Reconfigure(config with { DeadTimeout = 0, Timeout = 1 }, [kernels]), out _, timeout);
        Files.Close(ours);
        if (error != -Errno.ETIMEDOUT)
            Files.Close(kernels);
        return error == -Errno.EINVAL ? 0 : error; // No device any more: so says the disconnect too.
    }

    /// <summary>Whether the wanted device is nobody's yet: then -EBUSY says that its node is open.</summary>
    private static bool IsOnlyOpen(NbdDeviceConfig config) =>
        config.Index is { } index && !new KernelNbdDevice(index).IsConfigured;

    /// <summary>The kernel acts inside the call, and may wait there: in a thread that can be given up.</summary>
    private static int Timed(Func<NbdNetlink, int> call, out string? text, TimeSpan? timeout = null)
    {
        string? words = null;
        var result = TimedCall.Run(ThreadName, () =>
        {
            var error = NbdNetlink.Open(out var netlink);
            if (error < 0)
                return error;
            using (netlink)
            {
                error = call(netlink!);
                words = netlink!.LastText;
                return error;
            }
        }, timeout ?? s_callTimeout);
        text = words;
        return result;
    }
}
