using System;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Exports.NbdKernel;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices;

/// <summary>What the previous server left open for this one: descriptors that came with the start of the process.</summary>
internal static class InheritedDescriptors
{
    /// <summary>The first of them; those below are the standard ones and the two of the start.</summary>
    public const int First = 5;

    /// <summary>Takes the key that comes behind them, where the options say that one does.</summary>
    /// <returns>the options with it</returns>
    public static AttachOptions TakeKey(AttachOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        return options.KeyIsHeld ? options with { HeldKey = KeyHandOver.Receive(First + Count(options)) } : options;
    }

    /// <summary>They go no further from now on.</summary>
    public static int[] Of(AttachOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        var descriptors = new int[Count(options)];
        for (var i = 0; i < descriptors.Length; i++)
        {
            descriptors[i] = First + i;
            _ = Fcntl.Control(descriptors[i], F_SETFD, FD_CLOEXEC);
        }

        return descriptors;
    }

    private static int Count(AttachOptions options) => KeptConnection.Descriptors
        * Math.Clamp(options.InheritedConnections, 0, UnixSocket.MaxDescriptors / KeptConnection.Descriptors);
}
