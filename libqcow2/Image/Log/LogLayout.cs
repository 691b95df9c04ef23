using System.Runtime.InteropServices;
using Qcow2Blk.Format;

namespace Qcow2Blk.Image.Log;

/// <summary>The first page of a recovery log. The first four fields are the same in every version of the format.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct LogHeader
{
    /// <summary>"qblklog" and the version of the format, a digit; "qblk2log" is what came before versions.</summary>
    public ulong Magic;

    /// <summary>Records before this one are in the image.</summary>
    public ulong Start;

    /// <summary>Records from this one on are not written yet.</summary>
    public ulong End;

    /// <summary>Not 0: a record had no room, so the log does not hold everything.</summary>
    public ulong Dropped;

    /// <summary>Records from this one on are in no commit that was begun: nothing of them can be in the image.</summary>
    public ulong CapturedEnd;

    /// <summary>Commits that were begun, counted from 1; a cluster that is allocated now is in none of them.</summary>
    public ulong Captures;

    /// <summary>What <see cref="Captures"/> was when the last commit that has ended was begun.</summary>
    public ulong Committed;

    /// <summary><see cref="LogHash"/> of the L1 table in the file as <see cref="Start"/> sees it.</summary>
    public ulong L1Hash;

    /// <summary>What <see cref="L1Hash"/> becomes when the commit that was begun has ended.</summary>
    public ulong NextL1Hash;

    /// <summary>What the image's header holds for as long as no other program opens the image for writing; 0 in version 2.</summary>
    public ulong Mark;

    /// <summary>Milliseconds since 1970 when the server was last seen writing; only in version 2.</summary>
    public long LastAlive;

    public LogIdentity Identity;
}

/// <summary>One change of a table entry.</summary>
[StructLayout(LayoutKind.Sequential)]
internal readonly struct LogRecord
{
    /// <summary>Set: an entry of the L1 table. Not set: the L2 entry of a guest cluster.</summary>
    public const ulong InL1 = 1UL << 63;

    /// <summary>The host cluster was in use not long before: the file's refcounts may say anything of it.</summary>
    public const ulong Recycled = 1UL << 62;

    /// <summary>The largest L1 table (2^22 entries) of the largest L2 tables (2^18) maps 2^40 clusters.</summary>
    private const int IndexBits = 40;
    private const ulong IndexMask = (1UL << IndexBits) - 1;
    private const int CaptureBits = 22;

    /// <summary>Index of the L1 entry or number of the guest cluster; above it when its host cluster was allocated; flags.</summary>
    private readonly ulong _target;

    // The descriptors, then the bitmaps of extended L2 entries.
    private readonly ulong _old;
    private readonly ulong _new;
    private readonly ulong _oldBitmap;
    private readonly ulong _newBitmap;

    public LogRecord(long index, ulong flags, in StoredL2Entry old, in StoredL2Entry entry, LogTime taken = default)
    {
        _target = ((ulong)index & IndexMask) | (taken.Capture << (64 - CaptureBits) >> (64 - CaptureBits) << IndexBits) | flags
            | (taken.Recycled ? Recycled : 0);
        (_old, _oldBitmap) = (old.Descriptor, old.Bitmap);
        (_new, _newBitmap) = (entry.Descriptor, entry.Bitmap);
    }

    /// <summary>What the entry was; of the L1 table, in the descriptor.</summary>
    public StoredL2Entry Old => new(_old, _oldBitmap);

    /// <summary>What it became.</summary>
    public StoredL2Entry New => new(_new, _newBitmap);

    public long Index => (long)(_target & IndexMask);

    public bool Has(ulong flag) => (_target & flag) != 0;

    /// <summary>Whether the host cluster was allocated before the commit of this number took its copy.</summary>
    public bool IsTakenBefore(ulong capture)
    {
        // The number's last bits are kept, which is enough to compare with one not far from it.
        var distance = (long)((capture - (_target >> IndexBits)) << (64 - CaptureBits));
        return distance > 0;
    }
}

/// <summary>By which a log knows its image: the file, and what no server of ours changes in its header.</summary>
/// <param name="Boot">of the kernel that runs: what it had not flushed ended with it</param>
/// <param name="SnapshotsOffset">of the snapshot table; qemu-img changes it when it makes or deletes one, not when it applies one</param>
/// <param name="HeaderHash">of all that is not named here</param>
internal readonly record struct LogIdentity(
    ulong Device, ulong Inode, ulong Boot, long Size, long L1TableOffset, long L1Entries, long SnapshotsOffset, long SnapshotCount,
    ulong HeaderHash);

/// <summary>An image as it is found when a log may belong to it.</summary>
/// <param name="Mark">of its header; null in version 2, which has no room for one</param>
/// <param name="Modified">milliseconds since 1970 when the file was last written; null if that is not known or not comparable</param>
internal readonly record struct LoggedImage(LogIdentity Identity, byte? Mark, long? Modified);

/// <summary>When host clusters were allocated, as far as a log has to know.</summary>
/// <param name="Capture">how many commits had begun; 0 if there is no log</param>
/// <param name="Recycled">whether one of them may have been in use at the last commit</param>
internal readonly record struct LogTime(ulong Capture, bool Recycled);
