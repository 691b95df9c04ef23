using System;
using System.Text.Json;
using System.Threading;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Devices.Control;

/// <summary>
/// An attached image as its commands see it. Every method may be called from any thread but the device's loops. Commands are
/// tasks that end when the outcome is known, and come one at a time: <see cref="CommandTurns"/> orders them.
/// </summary>
/// <remarks>
/// <see cref="IDisposable.Dispose"/> frees what is left after <see cref="Detach"/>; on a device that was not
/// detached it stops serving without a promise about unflushed data.
/// </remarks>
internal interface IDevice : IDisposable
{
    /// <summary>The registered name, unique in its runtime directory.</summary>
    string Name { get; }

    /// <summary>The absolute path of the image as it was opened.</summary>
    string ImagePath { get; }

    /// <summary>The file that is open or was open last, as <see cref="DeviceRecord.ImageIdentity"/>; not looked up by its name.</summary>
    string? ImageIdentity { get; }

    /// <summary>The NBD URI for clients; null where there is none (a kernel device).</summary>
    string? Uri { get; }

    /// <summary>The block device node; null where there is none.</summary>
    string? DevicePath { get; }

    DeviceState State { get; }

    /// <summary>Tells what happens to it to whoever watches.</summary>
    DeviceEvents Events { get; }

    /// <summary>
    /// Holds new requests, finishes those in flight, flushes, closes the image and drops its locks. On failure the
    /// device runs on.
    /// </summary>
    /// <param name="timeout">how long to wait for requests in flight; past it the suspend is undone</param>
    /// <param name="cut">as if everything that it waits for had taken too long</param>
    Task<Outcome> SuspendAsync(TimeSpan timeout, CancellationToken cut);

    /// <summary>Locks and re-reads the image and goes on with the held requests. On failure it stays suspended.</summary>
    /// <param name="allowShrink">accept a disk that is now smaller than clients were told</param>
    /// <param name="timeout">bounds the wait for locks where the next says nothing</param>
    /// <param name="lockTimeout">
    /// how long to wait for image locks that nobody alive holds; null for what attach was told, within the timeout
    /// </param>
    /// <param name="cut">as if opening had taken too long</param>
    Task<Outcome> ResumeAsync(bool allowShrink, TimeSpan timeout, TimeSpan? lockTimeout, CancellationToken cut);

    /// <summary>
    /// Stops serving, flushes and closes the image. When it returns success the file is complete and unlocked.
    /// </summary>
    /// <param name="force">
    /// detach even if requests do not end or the last flush fails: the result then says what was lost
    /// </param>
    /// <param name="timeout">how long to wait for requests in flight</param>
    /// <param name="cut">as if they had taken too long; without effect once its users have lost the device</param>
    Task<Outcome> DetachAsync(bool force, TimeSpan timeout, CancellationToken cut);

    /// <summary>
    /// Holds requests, finishes those in flight, flushes, closes the image and lets go of the block device without ending
    /// it: its requests wait for the next server. On failure the device runs on.
    /// </summary>
    /// <param name="timeout">how long to wait for requests in flight</param>
    /// <param name="ending">the process ends whatever comes of it: then nobody edits the image before the next server</param>
    /// <param name="cut">as if what it waits for had taken too long</param>
    Task<Outcome> HandOverAsync(TimeSpan timeout, bool ending, CancellationToken cut);

    /// <summary>What <c>set</c> has changed holds from now on. Does not wait for anything.</summary>
    /// <param name="options">those of attach with the changes</param>
    void Apply(AttachOptions options);

    /// <summary>
    /// Carries out an operation on the image. If it changes the image, requests wait meanwhile: those in flight are finished, and new
    /// ones begin when it is done. Whatever comes of it, the device runs on.
    /// </summary>
    /// <param name="edit">the operation</param>
    /// <param name="timeout">how long to wait for requests in flight</param>
    /// <param name="cut">as if they had taken too long</param>
    /// <exception cref="OutcomeException">there is no such operation</exception>
    Task<Outcome> EditAsync(ImageEdit edit, TimeSpan timeout, CancellationToken cut);

    /// <summary>
    /// Holds requests, to edit several devices at one instant. After success <see cref="ReleaseHold"/> has to follow; no other command
    /// comes in between.
    /// </summary>
    /// <param name="timeout">how long to wait for requests in flight</param>
    /// <param name="cut">as if they had taken too long</param>
    Task<Outcome> HoldAsync(TimeSpan timeout, CancellationToken cut);

    /// <summary>As <see cref="EditAsync"/>, while requests are held.</summary>
    Task<Outcome> EditHeldAsync(ImageEdit edit, CancellationToken cut);

    /// <summary>Requests go on.</summary>
    void ReleaseHold();

    /// <summary>Its requests, traced while somebody reads that.</summary>
    RequestTrace Trace { get; }

    /// <summary>How many loops note requests in a trace.</summary>
    int Loops { get; }

    /// <summary>Who uses the block device: "mounted on /mnt".</summary>
    /// <returns>null if nobody does, or if users cannot be known (network clients)</returns>
    Task<string?> FindUserAsync();

    /// <summary>What the device's server knows of it beyond the image, for <c>status</c>. Set from any thread.</summary>
    DeviceHistory History { get; set; }

    /// <summary>The process is about to end as it is: <see cref="IDisposable.Dispose"/> then touches nothing.</summary>
    void LeaveAsIs();

    /// <summary>
    /// Writes one JSON object (start to end) with the members that docs/json.md lists under "status". Called often;
    /// must not wait for I/O.
    /// </summary>
    void WriteStatus(Utf8JsonWriter writer);
}

/// <summary>The life of a device across its servers.</summary>
/// <param name="Started">when it was attached</param>
/// <param name="Recoveries">how often a server of it died</param>
/// <param name="Supervisor">the process that starts another server if this one dies; null if there is none</param>
/// <param name="DetachWaitsFor">who has to go before it ends; null if nobody asked for its end</param>
internal sealed record DeviceHistory(DateTimeOffset Started, int Recoveries, int? Supervisor, string? DetachWaitsFor)
{
    /// <summary>A device that begins now.</summary>
    public static DeviceHistory New => new(DateTimeOffset.UtcNow, 0, null, null);
}

/// <summary>Opens images as devices.</summary>
internal interface IDeviceFactory
{
    /// <summary>Opens, locks and starts to serve: clients can connect when it returns.</summary>
    /// <param name="options">validated; paths are absolute</param>
    /// <param name="name">the name that the registry granted</param>
    /// <param name="recoveryLog">
    /// where the next server looks for what a block device's users wrote last; null if no server can follow this one
    /// </param>
    /// <param name="log">for what happens later, when no caller waits</param>
    /// <exception cref="OutcomeException">the image or the address cannot be served</exception>
    IDevice Open(AttachOptions options, string name, string? recoveryLog, ILog log);
}
