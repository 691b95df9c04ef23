using System;
using System.IO;
using System.Threading;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Image.Tables;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Log;

/// <summary>
/// What the mapping of an image became since its last commit, in memory that outlives the process: a file on tmpfs, mapped
/// shared. The users of a block device take a write for done when it was answered; if the server is killed, the next one
/// replays the log, and nothing answered is lost. Power loss takes log and answers alike: those were not flushed.
/// </summary>
/// <remarks>
/// A ring of records. Start and End count records for ever; those between them are not in the file's metadata yet.
/// Invariants: a record is whole before End counts it; an entry is in the log before its request is answered; CapturedEnd
/// is raised before the first write of a commit. <see cref="ReplayProof"/> rests on them.
/// </remarks>
internal sealed unsafe class RecoveryLog : IDisposable
{
    /// <summary>Records that the ring holds; a commit is due long before they are used up.</summary>
    public const int Capacity = 1 << 17;

    private const int AliveInterval = 100;

    private readonly LogHeader* _header;
    private readonly LogRecord* _records;
    private readonly RecentClusters _freed = new();
    private readonly RecentClusters _freedBefore = new();
    private ulong _captured;
    private ulong _l1Hash;
    private ulong _capturedL1Hash;
    private long _aliveTicks;
    private bool _tracksTime;
    private bool _droppedSinceCapture;
    private bool _disposed;

    internal RecoveryLog(string path, nint memory)
    {
        Path = path;
        _header = (LogHeader*)memory;
        _records = (LogRecord*)(memory + RecoveryLogFile.HeaderBytes);
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

    /// <summary>What the header of the image has to hold before the first record; 0 if it cannot.</summary>
    public byte Mark => (byte)_header->Mark;

    internal ref LogHeader Header => ref *_header;

    /// <summary>Makes an empty log for an image, in the place of any other.</summary>
    /// <exception cref="IOException">the file cannot be made</exception>
    public static RecoveryLog Create(string path, in LoggedImage image)
    {
        var log = RecoveryLogFile.Create(path);
        *log._header = new LogHeader { Identity = image.Identity, Captures = 1, Mark = image.Mark is { } mark ? NextMark(mark) : (byte)0 };
        Volatile.Write(ref log._header->Magic, RecoveryLogFile.Magic);
        return log;
    }

    /// <summary>Opens the log that a dead server left, if it belongs to this image and nobody else wrote the image since.</summary>
    /// <returns>null if there is none, or nothing in it</returns>
    /// <exception cref="RecoveryLogException">it cannot be replayed</exception>
    /// <exception cref="IOException">it cannot be read</exception>
    public static RecoveryLog? Open(string path, in LoggedImage image) => RecoveryLogFile.Open(path, image);

    /// <summary>Whether a dead server left changes there that are in no image yet.</summary>
    public static bool HasRecords(string path) => RecoveryLogFile.CountOf(path) > 0;

    /// <summary>Tells which L1 table the image has now; before the first change.</summary>
    public void Begin(MetadataTable l1)
    {
        _l1Hash = LogHash.OfTable(l1);
        if (Count == 0)
            _header->L1Hash = _header->NextL1Hash = _l1Hash;

        // What has a mark needs no clock.
        _tracksTime = Mark == 0;
        NoteAlive();
    }

    /// <summary>
    /// The header of the image was changed by its own server, and everything is committed. Killed before this, the log is of a header
    /// that is gone, and empty: then nothing is replayed, and nothing is missing.
    /// </summary>
    public void Follow(in LoggedImage image)
    {
        Invariant.Holds(Count == 0, "a log follows its image only when it is empty", Count);
        _header->Identity = image.Identity;
    }

    /// <summary>An L2 entry is about to change in memory.</summary>
    /// <param name="cluster">whose entry</param>
    /// <param name="old">what it was</param>
    /// <param name="entry">what it becomes</param>
    /// <param name="taken">when the host cluster in it was allocated; default for one that the entry had before, or none</param>
    public void Append(GuestCluster cluster, in StoredL2Entry old, in StoredL2Entry entry, LogTime taken)
    {
        Invariant.Holds(!_disposed, "a log is written only while it is there", cluster.Number);
        if (IsReplaying)
            return;
        NoteAlive();
        Append(new LogRecord(cluster.Number, 0, old, entry, taken));
    }

    /// <summary>An L1 entry is about to change in memory.</summary>
    public void AppendL1(int index, ulong old, ulong raw)
    {
        _l1Hash ^= LogHash.OfEntry(index, old) ^ LogHash.OfEntry(index, raw);
        Append(new LogRecord(index, LogRecord.InL1, new StoredL2Entry(old), new StoredL2Entry(raw)));
    }

    /// <summary>Host clusters got refcount 0 in memory.</summary>
    public void NoteFree(HostCluster first, long count) => _freed.Add(first.Number, count);

    /// <summary>Host clusters are being allocated.</summary>
    public LogTime NoteTaken(HostCluster first, int count)
    {
        for (var cluster = first.Number; cluster < first.Number + count; cluster++)
        {
            if (_freed.Contains(cluster) || _freedBefore.Contains(cluster))
                return new LogTime(_header->Captures, Recycled: true);
        }

        return new LogTime(_header->Captures, Recycled: false);
    }

    /// <summary>Something is about to be written to the file, or was. Any loop.</summary>
    public void NoteAlive()
    {
        if (!_tracksTime)
            return;
        var now = Environment.TickCount64;
        if (now - Volatile.Read(ref _aliveTicks) < AliveInterval)
            return;
        Volatile.Write(ref _aliveTicks, now);
        Volatile.Write(ref _header->LastAlive, DateTimeOffset.UtcNow.ToUnixTimeMilliseconds());
    }

    /// <summary>A commit takes its copy of the metadata now.</summary>
    public void Capture()
    {
        _freedBefore.AddAll(_freed);
        _freed.Clear();
        _droppedSinceCapture = false;
        NoteAlive();
        Invariant.Holds(
            _header->Start <= _header->End && _header->CapturedEnd <= _header->End,
            "a log begins before it ends", (long)_header->Start, (long)_header->End);

        // In the middle of a replay a commit covers only what was replayed so far: nothing is dropped from the log.
        _captured = IsReplaying ? _header->Start : _header->End;
        _capturedL1Hash = IsReplaying ? _header->L1Hash : _l1Hash;
        _header->NextL1Hash = _capturedL1Hash;
        _header->Captures++;
        Volatile.Write(ref _header->CapturedEnd, _header->End);
    }

    /// <summary>The commit has ended.</summary>
    public void Captured(bool succeeded)
    {
        NoteAlive();
        if (!succeeded)
            return;
        Invariant.Holds(
            _header->Start <= _captured && _captured <= _header->CapturedEnd,
            "a commit takes only what it covers from the log", (long)_captured, (long)_header->CapturedEnd);

        // A server that is killed in between leaves a start to which the next hash belongs.
        Volatile.Write(ref _header->Start, _captured);
        Volatile.Write(ref _header->L1Hash, _capturedL1Hash);
        if (!IsReplaying)
            _header->Committed = _header->Captures;
        _freedBefore.Clear();
        if (!_droppedSinceCapture)
            _header->Dropped = 0;
    }

    /// <summary>The record at a position between Start and End.</summary>
    public ref readonly LogRecord this[ulong position] => ref _records[position % Capacity];

    /// <summary>Whether the last record says this, or there need not be one.</summary>
    public bool EndsWith(GuestCluster cluster, in StoredL2Entry entry) =>
        IsReplaying || _header->Dropped != 0
        || (Count > 0 && this[_header->End - 1] is var last && last.Index == cluster.Number && last.New == entry);

    public void Dispose()
    {
        if (!_disposed)
            RecoveryLogFile.Unmap((nint)_header);
        _disposed = true;
    }

    /// <summary>Another one than the image has: that may be from a server whose log lies elsewhere.</summary>
    private static byte NextMark(byte present)
    {
        var next = (byte)Random.Shared.Next(1, byte.MaxValue);
        return next == present ? byte.MaxValue : next;
    }

    private void Append(in LogRecord record)
    {
        var end = _header->End;
        if (end - _header->Start >= Capacity)
        {
            // Never, as requests wait before. If it happens all the same, a recovery must know.
            _header->Dropped = 1;
            _droppedSinceCapture = true;
            return;
        }

        _records[end % Capacity] = record;
        Volatile.Write(ref _header->End, end + 1);
    }
}
