using System;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image;

/// <summary>Taking over what a killed server had answered but not committed.</summary>
public sealed partial class Qcow2Image
{
    private RecoveryLog? _log;

    /// <summary>Begins to log, after the log of a dead server was replayed if that is asked for. Before the first request.</summary>
    /// <exception cref="IOException">the log cannot be made, or does not fit this image: nothing was changed</exception>
    private async LoopTask<int> StartLogAsync()
    {
        if (ReadOnly || _options.RecoveryLog is not { } path)
            return 0;
        var identity = IdentityForLog();
        _log = _options.Replay ? RecoveryLog.Open(path, identity) : null;
        var error = _log is null ? 0 : await ReplayAsync(_log);
        _log ??= RecoveryLog.Create(path, identity);
        _context.Log = _log;
        return error;
    }

    private async LoopTask<int> StartLogOrAbandonAsync()
    {
        try
        {
            Require(_file, "recovery log", await StartLogAsync());
            return 0;
        }
        catch
        {
            // The file and the backing image stay the caller's.
            _context.Abandon();
            await DrainAsync();
            FreeMemory();
            throw;
        }
    }

    private LogIdentity IdentityForLog()
    {
        var (major, minor, inode) = _file is Storage.FileStorage file ? file.Identity : default;
        return new LogIdentity(((ulong)major << 32) | minor, inode, Size, _geometry.ClusterBits, BootOfKernel(),
            Header.SnapshotsOffset.Value, Header.SnapshotCount);
    }

    private static ulong BootOfKernel()
    {
        Span<byte> bytes = stackalloc byte[16];
        return Guid.TryParse(System.IO.File.ReadAllText("/proc/sys/kernel/random/boot_id"), out var boot) && boot.TryWriteBytes(bytes)
            ? BitConverter.ToUInt64(bytes)
            : 0;
    }

    /// <summary>
    /// Makes the mapping what the log says, and commits. Host clusters are claimed first: until then they look free. Killed
    /// in the middle, it can be done again from the start.
    /// </summary>
    private async LoopTask<int> ReplayAsync(RecoveryLog log)
    {
        var entries = log.Read();
        var hosts = HostsOf(entries);
        log.IsReplaying = true;
        _context.Log = log;

        // Whatever the dead server wrote may still be in a volatile cache, whether its mapping changed or not.
        _context.NoteData();
        var error = entries.Count == 0 ? 0 : await PrepareForWritingAsync();
        if (error == 0)
            error = await _allocator!.ClaimAsync(hosts);
        foreach (var (cluster, raw) in entries)
        {
            if (error == 0)
                error = await ReplayEntryAsync(cluster, raw);
        }

        log.IsReplaying = false; // From here on a commit covers all of it.
        if (error == 0)
            error = await _committer!.FlushAsync();
        if (error == 0 && entries.Count > 0)
            _options.Report?.Invoke($"{_file.Path}: replayed {entries.Count} changes that its last server had not committed");
        return error;
    }

    private async LoopTask<int> ReplayEntryAsync(long cluster, ulong raw)
    {
        var slot = await _tables.LoadForWriteAsync(_tables.KeyOf(cluster));
        if (slot < 0)
            return slot == SlicedTables.Absent ? -Interop.Errno.EIO : slot;
        if (_tables.Raw(slot, cluster) == raw)
            return 0;
        var old = _tables.Entry(slot, cluster);
        _tables.Set(slot, cluster, raw);
        if (L2Entry.Decode(raw, _geometry).Host != old.Host)
            FreeOld(old);
        return 0;
    }

    /// <summary>The host clusters that the logged entries point to, checked: a log is a file, and files can be damaged.</summary>
    private SortedSet<long> HostsOf(Dictionary<long, ulong> entries)
    {
        var hosts = new SortedSet<long>();
        var clusters = (Size + _geometry.ClusterMask) >> _geometry.ClusterBits;
        foreach (var (cluster, raw) in entries)
        {
            if (cluster < 0 || cluster >= clusters)
                throw Damaged($"guest cluster {cluster} is not on the disk");
            var entry = L2Entry.Decode(raw, _geometry);
            if (entry.Kind is L2Kind.Unallocated or L2Kind.Zero)
                continue;
            var host = entry.Host.Value;
            if (entry.Kind is not (L2Kind.Data or L2Kind.ZeroAllocated) || !entry.Copied || host >= _file.Length || _context.Metadata!.Contains(host))
                throw Damaged($"guest cluster {cluster} is mapped by 0x{raw:x}");
            if (!hosts.Add(host >> _geometry.ClusterBits))
                throw Damaged($"host cluster 0x{host:x} is used twice");
        }

        return hosts;
    }

    private IOException Damaged(string what) =>
        new($"the recovery log {_options.RecoveryLog} does not fit {_file.Path}: {what}");
}
