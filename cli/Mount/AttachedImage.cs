using System;
using System.Linq;
using System.Threading;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Cli.Mount;

/// <summary>
/// The block device of an image that is about to be mounted: attached for that, or one that is there already. While it is held
/// open it has a user, so that it is not detached before the mount has begun; after that it ends with its last user.
/// </summary>
internal sealed class AttachedImage : IDisposable
{
    private readonly DeviceRegistry _registry;
    private readonly bool _isOurs;
    private readonly int _held;
    private bool _kept;

    private AttachedImage(DeviceRegistry registry, DeviceRecord record, bool isOurs, string what)
    {
        _registry = registry;
        _isOurs = isOurs;
        Record = record;
        Node = KernelNode.TryParse(record.DevicePath)!.Value;
        _held = Fcntl.Open(Node.Path, O_RDONLY | O_CLOEXEC, 0);
        if (_held >= 0)
            return;
        End();
        throw new OutcomeException(OutcomeKind.Failed, what, $"cannot open {Node.Path}: {Errno.Text(_held)}");
    }

    internal DeviceRecord Record { get; }

    internal KernelNode Node { get; }

    /// <param name="options">how it shall be attached</param>
    /// <param name="what">what fails</param>
    /// <exception cref="OutcomeException">it cannot be attached, or is attached in another way</exception>
    internal static AttachedImage Take(MountOptions options, string what)
    {
        var registry = Targets.Registry();
        if (FindIn(registry, options.Attach.Options) is { } there)
            return new AttachedImage(registry, there, isOurs: false, what);
        var checkedOptions = options.Attach.ToOptions();
        var record = BackgroundServer.Start(checkedOptions, ServerProgram.Self(JitHost.Arguments), Timeout.InfiniteTimeSpan);
        return new AttachedImage(registry, record, isOurs: true, what);

        DeviceRecord? FindIn(DeviceRegistry devices, AttachOptions wanted) =>
            Attached(devices, wanted.Image, wanted.Snapshot) is { } entry ? Usable(entry.Record, options, what) : null;
    }

    /// <summary>The device that has this disk of the image.</summary>
    /// <returns>null if there is none with a living server</returns>
    internal static DeviceEntry? Attached(DeviceRegistry registry, string image, string? snapshot)
    {
        var real = RealPath.Of(image);
        return registry.List().FirstOrDefault(entry => entry.Alive && entry.Record.DevicePath is not null
            && entry.Record.Options.Snapshot == snapshot && RealPath.Of(entry.Record.Image) == real);
    }

    /// <summary>As losetup does it: what is attached is used again, if it is what was asked for.</summary>
    /// <exception cref="OutcomeException">it is not</exception>
    internal static DeviceRecord Usable(DeviceRecord record, MountOptions options, string what)
    {
        var wanted = options.Attach.Options;
        if (record.Options.EffectiveReadOnly && !options.ReadOnly)
        {
            throw new OutcomeException(OutcomeKind.Busy, what, $"it is attached read-only as {record.Name} ({record.DevicePath})",
                $"mount it with -o ro, or \"qcow2blk detach {record.Name}\" first");
        }

        foreach (var option in options.Given.Where(option => option.Name is not ("read-only" or "snapshot" or "lock-timeout")))
        {
            var (said, has) = (Text(option, wanted), option.Name == "name" ? record.Name : Text(option, record.Options));
            if (said != has)
            {
                throw new OutcomeException(OutcomeKind.Busy, what,
                    $"it is attached as {record.Name} ({record.DevicePath}) with {option.Name}={has}, not {said}",
                    $"leave {option.Name} out, or \"qcow2blk detach {record.Name}\" first");
            }
        }

        return record.Suspended
            ? throw new OutcomeException(OutcomeKind.Busy, what, $"{record.Name} ({record.DevicePath}) is suspended: its requests wait",
                $"\"qcow2blk resume {record.Name}\" first")
            : record;

        static string Text(AttachOption option, AttachOptions options) => string.Join(' ', option.Texts(options));
    }

    /// <summary>It is mounted now: what was attached ends with its last user.</summary>
    internal void Keep() => _kept = true;

    public void Dispose()
    {
        _ = Unistd.Close(_held);
        if (!_kept)
            End();
    }

    /// <summary>What was attached for a mount that failed is nobody's.</summary>
    private void End()
    {
        if (!_isOurs || _registry.Find(Record.Name) is not { } entry)
            return;
        var ended = Unmounted.Detach(_registry, entry);
        if (!ended.Succeeded)
            Output.Error(ended.What ?? $"cannot detach {Record.Name}", ended.Why ?? "unknown", ended.Hint);
    }
}
