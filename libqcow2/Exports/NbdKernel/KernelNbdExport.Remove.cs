using System;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>Devices that are left when their server is gone.</summary>
internal sealed partial class KernelNbdExport
{
    /// <summary>
    /// Takes a device away whose server is dead. What users wait for fails with EIO, also requests that wait for a new
    /// server. Nobody is asked whether the device is in use: see <see cref="BlockDeviceUsers.Find"/>, without an exclusive
    /// open, which might wait for the dead server.
    /// </summary>
    /// <param name="devicePath">/dev/nbdN</param>
    /// <param name="identifier">as of <see cref="KernelNbdDevice.IdentifierOf"/>; a device that is another's is left alone</param>
    /// <param name="timeout">how long it may take</param>
    /// <returns>
    /// 0, also if there is no such device any more; -EINVAL if the path is not a kernel NBD device, -EBUSY if the device is
    /// another's now, -ETIMEDOUT, or another negative errno of the kernel
    /// </returns>
    public static int Remove(string devicePath, string identifier, TimeSpan timeout)
    {
        if (!KernelNbdDevice.TryParse(devicePath, out var device))
            return -Errno.EINVAL;
        if (!device.IsConfigured)
            return 0;

        // Older kernels keep no identifiers; and nobody else's device is ever waited for.
        if (device.Identifier is { } owner && owner != identifier)
            return -Errno.EBUSY;
        var config = new NbdDeviceConfig { Index = device.Index, Identifier = identifier };
        return NetlinkAttachment.Disconnect(config, force: true, timeout);
    }
}
