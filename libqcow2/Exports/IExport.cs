using System;
using System.Collections.Generic;
using System.Text.Json;
using Qcow2Blk.Exports.Traffic;

namespace Qcow2Blk.Exports;

/// <summary>
/// One way in which a device's disk is offered: an NBD socket, a ublk device, a kernel NBD device. Every member may be
/// called from any thread but the device's loops, one command at a time.
/// </summary>
/// <remarks>
/// The life of an export: made while the disk is open; <see cref="Hold"/> and <see cref="Release"/> around everything
/// that replaces the disk; at the end <see cref="Stop"/> while the disk still works, then <see cref="Hold"/>, then
/// <see cref="IDisposable.Dispose"/>. Or <see cref="HandOver"/>, after which another process takes the kernel's device over.
/// </remarks>
internal interface IExport : IDisposable
{
    /// <summary>As <c>status</c> spells it: nbd-server, ublk or nbd.</summary>
    string Transport { get; }

    /// <summary>The NBD URI for clients; null where there is none.</summary>
    string? Uri { get; }

    /// <summary>The block device node; null where there is none.</summary>
    string? DevicePath { get; }

    /// <summary>Connections of clients, or of the kernel.</summary>
    int Connections { get; }

    /// <summary>Requests in progress, those that wait for space, and those that a limit holds back.</summary>
    (int Active, int Parked, int Limited) InFlight { get; }

    /// <summary>What all loops have served.</summary>
    IoStatistics Statistics();

    /// <summary>Holds new requests on all loops; calls <paramref name="drained"/> on some loop when none is in progress.</summary>
    void Hold(Action drained);

    /// <summary>Lets held requests go on.</summary>
    void Release();

    /// <summary>Ends every request that waits or comes with this negative errno, until <see cref="Release"/>.</summary>
    void Refuse(int error);

    /// <summary>The disk has another size now. Called while held.</summary>
    /// <returns>null if users see it by themselves, else what they must do to see it</returns>
    string? Resize(long size);

    /// <summary>Who uses the device, such that ending it would take a disk from under somebody: "mounted on /mnt".</summary>
    /// <returns>null if nobody does, or if users cannot be known (network clients)</returns>
    string? FindUser();

    /// <summary>
    /// Writes down what the kernel still caches for the device, then takes it away from its users. The requests that this
    /// makes are served while it runs: it must not be held.
    /// </summary>
    /// <param name="force">end it whoever uses it, and whatever cannot be written down</param>
    /// <param name="timeout">how long that may take</param>
    /// <returns>0 or a negative errno: -ETIMEDOUT if it did not end in time, -EBUSY if a user came</returns>
    int Stop(bool force, TimeSpan timeout);

    /// <summary>Lets go of the kernel's device without ending it: its requests wait for the next server. While held.</summary>
    /// <param name="timeout">how long that may take</param>
    /// <param name="kept">gets open descriptors that the next server is to be started with; the caller's</param>
    /// <returns>0, or -EOPNOTSUPP where there is no device to hand over</returns>
    int HandOver(TimeSpan timeout, ICollection<int> kept);

    /// <summary>Writes the members that are the export's own into the open object "kernel" of <c>status</c>.</summary>
    void WriteStatus(Utf8JsonWriter writer);
}
