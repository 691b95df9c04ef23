using System;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>A way to configure the kernel's NBD device: by netlink, or by ioctl where that is all there is. Any thread.</summary>
internal interface INbdAttachment : IDisposable
{
    /// <summary>Which device it is.</summary>
    KernelNbdDevice Device { get; }

    /// <summary>Whether a connection that ended can be replaced, also by another process.</summary>
    bool CanReconnect { get; }

    /// <summary>Replaces dead connections by these sockets; what is too much is silently dropped.</summary>
    /// <returns>0 or a negative errno: -EINVAL if the device is gone</returns>
    int Reconnect(ReadOnlySpan<int> sockets);

    /// <summary>Tells the kernel another size. May wait until no request is in progress.</summary>
    int Resize(long size);

    /// <summary>Takes the device from its users; what is in progress fails.</summary>
    /// <param name="force">its server may not answer any more</param>
    /// <param name="timeout">how long that may take</param>
    int Disconnect(bool force, TimeSpan timeout);
}
