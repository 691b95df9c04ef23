using System;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Opening;

/// <summary>Taking over what a killed server had answered but not committed.</summary>
internal sealed partial class Qcow2Image
{
    private const string Replaying = "replaying";

    private RecoveryLog? _log;

    /// <summary>The log of a dead server, if it is to be replayed. Before anything is changed in the file, by a repair too.</summary>
    /// <exception cref="IOException">it cannot be replayed, or not be read</exception>
    private static RecoveryLog? OpenLeftLog(IBlockStorage file, Header header, ImageOptions options)
    {
        if (options is not { RecoveryLog: { } path, Replay: true })
            return null;
        var log = RecoveryLog.Open(path, LoggedImageOf(file, header));
        if (log is null || (header.Incompatible & IncompatibleFeatures.Dirty) == 0)
            return log;
        log.Dispose();
        throw new RecoveryLogException($"{path}: another program wrote the image since its server died, and did not close it (dirty bit)");
    }

    /// <summary>Begins to log, after the log of a dead server was replayed or given up. Before the first request.</summary>
    /// <param name="left">what <see cref="OpenLeftLog"/> found; the image's from now on</param>
    /// <exception cref="IOException">the log cannot be made, or does not fit this image: nothing was changed</exception>
    private async LoopTask<int> StartLogAsync(RecoveryLog? left)
    {
        if (ReadOnly || _options.RecoveryLog is not { } path)
            return 0;
        if (_options.DiscardLog && await DiscardLogAsync(path) is var refused and < 0)
            return refused;
        _log = left;
        if (left is not null && await ReplayAsync(left) is var error and < 0)
            return error;
        if (_log is null)
        {
            _log = RecoveryLog.Create(path, LoggedImageOf(_file, Header));
            _log.Begin(_tables.L1);
        }

        _context.Log = _log;
        return 0;
    }

    /// <summary>What comes before the first request.</summary>
    private async LoopTask<int> BeginAsync(RecoveryLog? left)
    {
        try
        {
            // The bitmaps first: what is replayed was recorded in them before.
            Require(_file, "bitmaps", await LoadBitmapsAsync(left: _options.Replay));
            Require(_file, "recovery log", await StartLogAsync(left));
            BindShadow();
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

    private static LoggedImage LoggedImageOf(IBlockStorage file, Header header)
    {
        var (major, minor, inode) = file.Identity.GetValueOrDefault();
        var identity = new LogIdentity(((ulong)major << 32) | minor, inode, BootOfKernel(), header.Size,
            header.L1TableOffset.Value, header.L1Size, header.SnapshotsOffset.Value, header.SnapshotCount, HashOf(header));
        return new LoggedImage(identity, header.Version < 3 ? null : header.Autoclear.RecoveryMark(), file.Modified());
    }

    private static ulong BootOfKernel()
    {
        Span<byte> bytes = stackalloc byte[16];
        return Guid.TryParse(System.IO.File.ReadAllText("/proc/sys/kernel/random/boot_id"), out var boot) && boot.TryWriteBytes(bytes)
            ? BitConverter.ToUInt64(bytes)
            : 0;
    }

    /// <summary>Everything in the header that a server of ours never changes, and that has no field of its own in the identity.</summary>
    private static ulong HashOf(Header header)
    {
        const IncompatibleFeatures changing = IncompatibleFeatures.Dirty | IncompatibleFeatures.Corrupt;
        var hash = LogHash.Add(0, (ulong)header.Version);
        hash = LogHash.Add(hash, (ulong)header.ClusterBits);
        hash = LogHash.Add(hash, (ulong)header.RefcountOrder);
        hash = LogHash.Add(hash, (ulong)header.CryptMethod);
        hash = LogHash.Add(hash, (ulong)(header.Incompatible & ~changing));
        hash = LogHash.Add(hash, (ulong)header.Compatible);
        hash = LogHash.Add(hash, System.Text.Encoding.UTF8.GetBytes(header.BackingFile ?? ""));
        foreach (var extension in header.Extensions)
            hash = LogHash.Add(LogHash.Add(hash, extension.Type), extension.Data);
        return hash;
    }

    /// <summary>The image is to be used as it is: then it must be sound as it is.</summary>
    /// <exception cref="IOException">it is not; the log is kept</exception>
    private async LoopTask<int> DiscardLogAsync(string path)
    {
        var count = RecoveryLogFile.CountOf(path);
        if (count == 0)
            return 0;
        var check = await ImageChecker.CheckAsync(_file, _options.Progress);
        if (check.ReadError < 0)
            return check.ReadError;
        if (check.Errors > 0)
        {
            throw new IOException($"{_file.Path} has {check.Errors} errors as it is ({check.Findings[0].Message});"
                + $" {path} was kept: repair the image, then discard the log");
        }

        _options.Report?.Invoke($"{_file.Path}: discarded {count} changes that its last server had not committed;"
            + " the image as it is has no errors");
        return 0;
    }

    /// <summary>
    /// Makes the mapping what the log says, and commits. Host clusters are claimed first: until then they look free. Killed
    /// in the middle, it can be done again from the start.
    /// </summary>
    private async LoopTask<int> ReplayAsync(RecoveryLog log)
    {
        var changes = new LoggedChanges(log);
        _context.IsUnproven = true;
        var error = await new ReplayProof(_context, _tables, _refcounts!, log, Size)
            .RunAsync(changes, fraction => _options.Progress?.Invoke(Replaying, fraction / 2));
        if (error < 0)
            return error;
        var hosts = HostsOf(changes);
        _context.IsUnproven = false;
        log.Begin(_tables.L1);
        log.IsReplaying = true;
        _context.Log = log;

        // Whatever the dead server wrote may still be in a volatile cache, whether its mapping changed or not.
        _context.NoteData();
        error = await PrepareForWritingAsync();
        if (error == 0)
            error = await _allocator!.ClaimAsync(hosts);
        var count = 0;
        foreach (var entry in changes.Clusters)
        {
            _options.Progress?.Invoke(Replaying, 0.5 + (count / 2.0 / changes.Count));
            count++;
            if (error == 0)
                error = await ReplayEntryAsync(entry.Index, entry.New);
        }

        log.IsReplaying = false; // From here on a commit covers all of it.
        if (error == 0)
            error = await _committer!.FlushAsync();
        if (error == 0)
            _options.Report?.Invoke($"{_file.Path}: replayed {count} changes that its last server had not committed");
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

    /// <summary>The host clusters that the logged entries point to; each is proven already.</summary>
    private SortedSet<long> HostsOf(LoggedChanges changes)
    {
        var hosts = new SortedSet<long>();
        foreach (var entry in changes.Clusters)
        {
            var wanted = L2Entry.Decode(entry.New, _geometry);
            if (wanted.Kind is not (L2Kind.Unallocated or L2Kind.Zero) && !hosts.Add(wanted.Host.Value >> _geometry.ClusterBits))
            {
                throw new RecoveryLogException($"{_options.RecoveryLog} does not fit {_file.Path}:"
                    + $" host cluster 0x{wanted.Host.Value:x} is used twice");
            }
        }

        return hosts;
    }
}
