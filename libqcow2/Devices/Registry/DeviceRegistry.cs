using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices.Registry;

/// <summary>A device as the runtime directory shows it.</summary>
/// <param name="Record">its state file</param>
/// <param name="Alive">whether its server lives</param>
internal sealed record DeviceEntry(DeviceRecord Record, bool Alive)
{
    /// <summary>Whether its server is dead and its supervisor is about to start another one.</summary>
    public bool IsRecovering => !Alive && Record.Supervisor is { IsAlive: true };
}

/// <summary>All devices of one runtime directory: finding them and naming new ones.</summary>
internal sealed class DeviceRegistry(RuntimeDirectory directory)
{
    /// <summary>Past that many devices of one stem something else is wrong.</summary>
    private const int MaxAttempts = 9999;

    public RuntimeDirectory Directory { get; } = directory;

    /// <summary>Whether the kernel has this disk now; tests have other kernels.</summary>
    internal Func<KernelNode, bool> NodeExists { get; init; } = node => node.Exists;

    /// <summary>Whether the block device is there and its server is not.</summary>
    public bool IsLost(DeviceEntry entry)
    {
        ArgumentNullException.ThrowIfNull(entry);
        return !entry.Alive && KernelNode.TryParse(entry.Record.DevicePath) is { } node && NodeExists(node);
    }

    /// <summary>
    /// Every device, dead ones too, by name; none where there is no runtime directory. But not what a server left that died
    /// before it was ready, by whatever means: there is nothing to recover, and it is removed.
    /// </summary>
    /// <exception cref="OutcomeException">the directory is not ours alone: records in it may name anybody's images and
    /// processes</exception>
    public IReadOnlyList<DeviceEntry> List()
    {
        if (!Directory.Exists())
            return [];
        var entries = new List<DeviceEntry>();
        foreach (var file in StateFiles())
        {
            var name = Path.GetFileNameWithoutExtension(file);
            if (!DeviceName.IsValid(name))
                continue;
            var alive = DeviceClaim.IsHeld(file);
            // A record is whole from its first moment; one that is not was damaged by somebody else.
            if (DeviceRecord.TryRead(file) is { } record && record.Name == name && !Vanishes(record, file, ref alive))
                entries.Add(new DeviceEntry(record, alive));
        }

        entries.Sort((left, right) => string.CompareOrdinal(left.Record.Name, right.Record.Name));
        return entries;
    }

    /// <summary>Removes what servers left that died before they were ready.</summary>
    public void RemoveNeverReady() => _ = List();

    private bool Vanishes(DeviceRecord record, string stateFile, ref bool alive)
    {
        // What the server before it had answered is in the log: the next attach, or a detach, needs it.
        if (alive || !record.IsNeverReady || RecoveryLog.HasRecords(Directory.LogOf(record.Name)))
            return false;

        // If that fails another server has taken the name since, or somebody was quicker.
        alive = !DeviceClaim.RemoveDead(Directory, record.Name, onlyNeverReady: true) && DeviceClaim.IsHeld(stateFile);
        return !alive;
    }

    /// <summary>Finds a device by name, device path, image path or URI.</summary>
    /// <exception cref="OutcomeException">none answers to it, or more than one</exception>
    public DeviceEntry Resolve(string target)
    {
        ArgumentException.ThrowIfNullOrEmpty(target);
        var all = List();
        if (all.FirstOrDefault(entry => entry.Record.Name == target) is { } named)
            return named;
        DeviceEntry[] found = [.. all.Where(entry => Answers(entry.Record, target))];
        // What lives is meant before what died.
        if (found.Length > 1 && found.Count(entry => entry.Alive) == 1)
            return found.Single(entry => entry.Alive);
        if (found.Length == 0)
            RefuseDamaged(target);
        return found.Length switch
        {
            1 => found[0],
            0 => throw new OutcomeException(OutcomeKind.NotFound, $"no device {target}",
                "no attached device has that name, path, image or URI", "\"qcow2blk list\" shows them"),
            _ => throw new OutcomeException(OutcomeKind.Invalid, $"{target} is ambiguous",
                $"{string.Join(", ", found.Select(entry => entry.Record.Name))} match it", "give a name"),
        };
    }

    /// <exception cref="OutcomeException">there is a state file of that name, and what is wrong with it</exception>
    private void RefuseDamaged(string name)
    {
        if (DeviceName.IsValid(name) && File.Exists(Directory.StateFileOf(name)))
            _ = DeviceRecord.Read(Directory.StateFileOf(name));
    }

    /// <returns>null if there is no device of this name</returns>
    public DeviceEntry? Find(string name) => List().FirstOrDefault(entry => entry.Record.Name == name);

    /// <summary>The device that this process serves, or served until it died.</summary>
    /// <returns>null if there is none</returns>
    public string? NameOfServer(int pid) => List().FirstOrDefault(entry => entry.Record.Pid == pid)?.Record.Name;

    /// <summary>The device of this name, if its server is dead and its block device is still there.</summary>
    /// <returns>null if it lives, was detached, or was taken over</returns>
    public DeviceRecord? FindLost(string name) =>
        Find(name) is { } entry && IsLost(entry) ? entry.Record : null;

    /// <summary>The dead device that an attach of this image would have to replace.</summary>
    /// <param name="image">its path</param>
    /// <param name="name">only a device of this name; null for any</param>
    /// <returns>null if there is none whose block device is still there</returns>
    public DeviceRecord? FindLostOf(string image, string? name = null)
    {
        var real = RealPath.Of(image);
        return List().FirstOrDefault(entry => IsLost(entry) && (name is null || entry.Record.Name == name)
            && RealPath.Of(entry.Record.Image) == real)?.Record;
    }

    /// <summary>Takes a name for the image: the asked one, or one made from the file's stem.</summary>
    /// <param name="options">what is being attached</param>
    /// <param name="draft">makes the state file's content for a name</param>
    /// <remarks>
    /// A dead device gives way to one with the same asked name, or to one of the same image: that is a restart. But not
    /// while its block device is there, with requests that wait for a server: then only to its recovery. And a log that holds
    /// what is in no image yet goes to an attach that replays it, or was told to give it up.
    /// </remarks>
    /// <exception cref="OutcomeException">the asked name is taken, or the image is that of a device to recover</exception>
    public DeviceClaim Claim(AttachOptions options, Func<string, DeviceRecord> draft)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(draft);
        Directory.Ensure();
        if (options.RecoverDevice is { } device)
            return DeviceClaim.TryTake(Directory, draft(options.Name!), dead => dead?.DevicePath == device) ?? throw Taken(options.Name!);
        if (FindLostOf(options.Image) is { } lost)
            throw ToRecover(lost);
        if (Unsettled(entry => RealPath.Of(entry.Record.Image) == RealPath.Of(options.Image)) is { } unsettled)
            return ClaimUnsettled(options, draft, unsettled);
        if (options.Name is { } asked)
        {
            if (Unsettled(entry => entry.Record.Name == asked) is { } other)
                throw ToSettle(options, other);
            return DeviceClaim.TryTake(Directory, draft(asked), dead => dead is null || !IsLost(new DeviceEntry(dead, Alive: false)))
                ?? throw Taken(asked);
        }

        var stem = DeviceName.FromImage(options.Image);
        for (var attempt = 1; attempt <= MaxAttempts; attempt++)
        {
            var record = draft(DeviceName.Candidate(stem, attempt));
            if (DeviceClaim.TryTake(Directory, record, dead => dead?.Image == options.Image) is { } claim)
                return claim;
        }

        throw Taken(stem);
    }

    /// <summary>Forgets a dead device.</summary>
    /// <returns>false if its server lives after all</returns>
    public bool RemoveDead(string name) => DeviceClaim.RemoveDead(Directory, name);

    /// <summary>A device whose server is dead and left changes in its log that are in no image yet.</summary>
    private DeviceRecord? Unsettled(Predicate<DeviceEntry> which) =>
        List().FirstOrDefault(entry => !entry.Alive && which(entry)
            && RecoveryLog.HasRecords(Directory.LogOf(entry.Record.Name)))?.Record;

    /// <summary>
    /// The disk of the dead device is gone, its log is not: an attach that brings it in, or gives it up, takes the name with
    /// the log.
    /// </summary>
    private DeviceClaim ClaimUnsettled(AttachOptions options, Func<string, DeviceRecord> draft, DeviceRecord unsettled)
    {
        if (!options.KeepsLog || (options.Name ?? unsettled.Name) != unsettled.Name)
            throw ToSettle(options, unsettled);
        return DeviceClaim.TryTake(Directory, draft(unsettled.Name), dead => dead?.Image == unsettled.Image) ?? throw Taken(unsettled.Name);
    }

    private string[] StateFiles()
    {
        try
        {
            return System.IO.Directory.GetFiles(Directory.Path, "*.json");
        }
        catch (DirectoryNotFoundException)
        {
            return []; // The session that it belonged to has just ended.
        }
        catch (Exception error) when (error is UnauthorizedAccessException or IOException)
        {
            throw new OutcomeException(OutcomeKind.Failed, $"cannot list {Directory.Path}", "permission denied", null, error);
        }
    }

    private static bool Answers(DeviceRecord record, string target)
    {
        if (record.Uri == target || record.DevicePath == target)
            return true;
        var path = Unistd.RealPath(target);
        if (path is not null && record.DevicePath is not null && Unistd.RealPath(record.DevicePath) == path)
            return true;
        return (path ?? Path.GetFullPath(target)) == (Unistd.RealPath(record.Image) ?? record.Image);
    }

    private static OutcomeException ToRecover(DeviceRecord lost) =>
        new(OutcomeKind.Busy, $"cannot attach {lost.Image}", $"{lost.DevicePath} is still waiting for a server: the last one died",
            $"\"qcow2blk attach --recover {lost.Name}\" takes it over, \"qcow2blk detach {lost.Name}\" ends it");

    private static OutcomeException ToSettle(AttachOptions options, DeviceRecord unsettled) =>
        new(OutcomeKind.Busy, $"cannot attach {options.Image}",
            $"the last server of {unsettled.Name} died, and what it had acknowledged is not in {unsettled.Image} yet",
            $"\"qcow2blk detach {unsettled.Name}\" writes it to the image; --force discards it");

    private static OutcomeException Taken(string name) =>
        new(OutcomeKind.Busy, $"cannot attach as {name}", "another device has that name",
            $"use another --name, or \"qcow2blk detach {name}\" first");
}
