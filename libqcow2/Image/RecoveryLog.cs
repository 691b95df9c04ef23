using System;
using System.Collections.Generic;
using System.IO;
using System.Runtime.InteropServices;
using System.Threading;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Image;

/// <summary>
/// What the mapping of an image became since its last commit, in memory that outlives the process: a file on tmpfs, mapped
/// shared. The users of a block device take a write for done when it was answered; if the server is killed, the next one
/// replays the log, and nothing answered is lost. Power loss takes log and answers alike: those were not flushed.
/// </summary>
/// <remarks>
/// A ring of records. <c>start</c> and <c>end</c> count records for ever; those between them are not in the file's metadata
/// yet. Invariant: a record is whole before <c>end</c> counts it, and an entry is in the log before its request is answered.
/// </remarks>
internal sealed unsafe class RecoveryLog : IDisposable
{
    /// <summary>Records that the ring holds; a commit is due long before they are used up.</summary>
    public const int Capacity = 1 << 17;

    private const ulong Magic = 0x676f_6c32_6b6c_6271; // "qblk2log"
    private const int HeaderBytes = 4096;
    private const long FileBytes = HeaderBytes + ((long)Capacity * 16);

    private readonly LogHeader* _header;
    private readonly LogRecord* _records;
    private ulong _captured;
    private bool _droppedSinceCapture;

    private RecoveryLog(string path, nint memory)
    {
        Path = path;
        _header = (LogHeader*)memory;
        _records = (LogRecord*)(memory + HeaderBytes);
    }

    public string Path { get; }

    /// <summary>Entries set while this is true are not logged: they come from the log.</summary>
    public bool IsReplaying { get; set; }

    /// <summary>Records that no commit has covered yet.</summary>
    public int Count => (int)(_header->End - _header->Start);

    /// <summary>Whether a commit should begin.</summary>
    public bool IsFilling => Count > Capacity / 8;

    /// <summary>Whether requests must wait for a commit before they change more.</summary>
    public bool IsNearlyFull => Count > Capacity / 2;

    /// <summary>Makes an empty log for an image, in the place of any other.</summary>
    /// <exception cref="IOException">the file cannot be made</exception>
    public static RecoveryLog Create(string path, in LogIdentity identity)
    {
        var descriptor = Files.Open(path, Files.O_RDWR | Files.O_CREAT | Files.O_CLOEXEC, 0x180);
        if (descriptor < 0)
            throw new IOException($"cannot make {path}: {Errno.Text(descriptor)}");
        try
        {
            if (Files.Truncate(descriptor, 0) is var cut and < 0)
                throw new IOException($"cannot empty {path}: {Errno.Text(cut)}");
            var log = Map(path, descriptor);
            *log._header = new LogHeader { Identity = identity };
            Volatile.Write(ref log._header->Magic, Magic);
            return log;
        }
        finally
        {
            Files.Close(descriptor);
        }
    }

    /// <summary>Opens the log that a dead server left.</summary>
    /// <returns>null if there is none, or nothing in it</returns>
    /// <exception cref="IOException">it is no such log, or another image's, or it does not hold everything</exception>
    public static RecoveryLog? Open(string path, in LogIdentity identity)
    {
        var descriptor = Files.Open(path, Files.O_RDWR | Files.O_CLOEXEC);
        if (descriptor == -Errno.ENOENT)
            return null;
        if (descriptor < 0)
            throw new IOException($"cannot open {path}: {Errno.Text(descriptor)}");
        try
        {
            var length = Files.Seek(descriptor, 0, Files.SEEK_END);
            if (length == 0)
                return null; // Its server was killed while it made the log: there was nothing to log yet.
            if (length != FileBytes)
                throw new IOException($"{path} is no recovery log");
            var log = Map(path, descriptor);
            try
            {
                // After a power cut the data that its entries point to may be missing (the directory need not be on tmpfs). And one
                // without records says nothing of an image that may have been edited since, at leisure.
                if (log.IsEmpty || log._header->Identity.Boot != identity.Boot)
                {
                    log.Dispose();
                    return null;
                }

                log.Check(identity);
            }
            catch
            {
                log.Dispose();
                throw;
            }

            return log;
        }
        finally
        {
            Files.Close(descriptor);
        }
    }

    /// <summary>An entry has changed in memory.</summary>
    public void Append(long guestCluster, ulong raw)
    {
        if (IsReplaying)
            return;
        var end = _header->End;
        if (end - _header->Start >= Capacity)
        {
            // Never, as requests wait before. If it happens all the same, a recovery must know.
            _header->Dropped = 1;
            _droppedSinceCapture = true;
            return;
        }

        _records[end % Capacity] = new LogRecord { GuestCluster = guestCluster, Raw = raw };
        Volatile.Write(ref _header->End, end + 1);
    }

    /// <summary>A commit takes its copy of the metadata now.</summary>
    public void Capture()
    {
        // In the middle of a replay a commit covers only what was replayed so far: nothing is dropped from the log.
        _captured = IsReplaying ? _header->Start : _header->End;
        _droppedSinceCapture = false;
    }

    /// <summary>The commit has ended.</summary>
    public void Captured(bool succeeded)
    {
        if (!succeeded)
            return;
        Volatile.Write(ref _header->Start, _captured);
        if (!_droppedSinceCapture)
            _header->Dropped = 0;
    }

    /// <summary>Whether a dead server left changes there that are in no image yet.</summary>
    public static bool HasRecords(string path)
    {
        var descriptor = Files.Open(path, Files.O_RDONLY | Files.O_CLOEXEC);
        if (descriptor < 0)
            return false;
        LogHeader header = default;
        var read = Files.Read(descriptor, &header, (nuint)sizeof(LogHeader), 0);
        Files.Close(descriptor);
        return read == sizeof(LogHeader) && header.Magic == Magic && (header.Start != header.End || header.Dropped != 0);
    }

    /// <summary>What each guest cluster's entry became last.</summary>
    public Dictionary<long, ulong> Read()
    {
        var entries = new Dictionary<long, ulong>();
        for (var at = _header->Start; at != _header->End; at++)
        {
            var record = _records[at % Capacity];
            entries[record.GuestCluster] = record.Raw;
        }

        return entries;
    }

    public void Dispose() => Files.Unmap((nint)_header, (nuint)FileBytes);

    private static RecoveryLog Map(string path, int descriptor)
    {
        // All of it now: no request may wait for memory.
        var error = Files.Allocate(descriptor, 0, 0, FileBytes);
        if (error < 0)
            throw new IOException($"no space for {path}: {Errno.Text(error)}");
        var memory = Files.Map((nuint)FileBytes, Files.PROT_READ | Files.PROT_WRITE, Files.MAP_SHARED | Files.MAP_POPULATE, descriptor, 0);
        return memory != 0 ? new RecoveryLog(path, memory) : throw new IOException($"cannot map {path}");
    }

    private bool IsEmpty => _header->Dropped == 0 && _header->Start == _header->End && _header->Magic is 0 or Magic;

    private void Check(in LogIdentity identity)
    {
        if (_header->Magic != Magic || _header->End - _header->Start > Capacity)
            throw new IOException($"{Path} is no recovery log");
        if (_header->Identity with { SnapshotsOffset = identity.SnapshotsOffset, SnapshotCount = identity.SnapshotCount } == identity && _header->Identity != identity)
            throw new IOException($"{Path}: snapshots of the image were made or deleted since its server died");
        if (_header->Identity != identity)
            throw new IOException($"{Path} is the log of another image, or the image was replaced");
        if (_header->Dropped != 0)
            throw new IOException($"{Path} does not hold all that was written");
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct LogHeader
    {
        public ulong Magic;
        public ulong Start;
        public ulong End;
        public ulong Dropped;
        public LogIdentity Identity;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct LogRecord
    {
        public long GuestCluster;
        public ulong Raw;
    }
}

/// <summary>By which a log knows its image: the file, and what a change of the format would change.</summary>
/// <param name="Boot">of the kernel that runs: what it had not flushed ended with it</param>
/// <param name="SnapshotsOffset">of the snapshot table; no server of ours changes it, qemu-img does when it makes or deletes one (not when it applies one)</param>
internal readonly record struct LogIdentity(ulong Device, ulong Inode, long Size, long ClusterBits, ulong Boot, long SnapshotsOffset, long SnapshotCount);
