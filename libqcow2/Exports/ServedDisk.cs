using System.Numerics;
using System.Threading;
using Qcow2Blk.Image;
using Qcow2Blk.Storage;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Exports;

/// <summary>
/// What the connections of one device share: the disk of the moment, its home loop, and how to treat requests.
/// The disk is replaced as a whole by resume, only while every loop is held.
/// </summary>
public sealed class ServedDisk(EventLoop home, bool parkOnNoSpace)
{
    // What one client may have in progress; it has to wait for the rest, which stays in its socket. Enough to keep a
    // fast disk busy; a file in memory is copied at once, where more would only fall out of the processor's cache.
    private const int PipelineBytesOfDisk = 8 << 20;
    private const int PipelineBytesOfMemory = 2 << 20;

    // Of a block device: what memory was set aside for.
    private const int PipelineBytesOfBudget = 2 << 20;

    private IDisk? _disk;
    private long _size;
    private long _clusterBytes;
    private int _lostFlush;

    public EventLoop Home { get; } = home;

    /// <summary>Whether writes that find no space wait and are tried again, instead of failing.</summary>
    public bool ParkOnNoSpace { get; } = parkOnNoSpace;

    /// <summary>What requests may need of the home loop's memory at a time; null if that has no limit.</summary>
    internal WorkBudget? Budget { get; init; }

    /// <summary>The disk. Not to be asked for while suspended: no request runs then.</summary>
    public IDisk Disk => Volatile.Read(ref _disk)!;

    /// <summary>Bytes of the disk; the last known while suspended.</summary>
    public long Size => Volatile.Read(ref _size);

    /// <summary>Bytes of requests that one client may have in progress; a single larger request may pass.</summary>
    public int PipelineBytes { get; private set; } = PipelineBytesOfDisk;

    /// <summary>Bytes that a request of this length may need besides its own buffer: copy on write fills up two clusters.</summary>
    internal long WorkBytesOf(long length) => (long)BitOperations.RoundUpToPowerOf2((ulong)length) + (2 * _clusterBytes);

    /// <summary>The next flush fails with this errno: something was lost that no flush was told of. Any thread.</summary>
    public void FailNextFlush(int error) => Volatile.Write(ref _lostFlush, error);

    /// <returns>0, or the errno that a flush must fail with, once</returns>
    public int TakeLostFlush() => Volatile.Read(ref _lostFlush) == 0 ? 0 : Interlocked.Exchange(ref _lostFlush, 0);

    /// <summary>Puts a disk in place, while no request is in progress.</summary>
    public void Set(IDisk? disk)
    {
        if (disk is not null)
        {
            Volatile.Write(ref _size, disk.Size);
            _clusterBytes = disk is Qcow2Image image ? image.Header.ClusterSize : 4096;
            PipelineBytes = Budget is not null ? PipelineBytesOfBudget : disk.File is FileStorage { IsMemory: true } ? PipelineBytesOfMemory : PipelineBytesOfDisk;
        }

        Volatile.Write(ref _disk, disk);
    }
}
