using System;
using System.Numerics;
using System.Threading;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Image;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Exports;

/// <summary>
/// What the connections of one device share: the disk of the moment, its home loop, and how to treat requests.
/// The disk is replaced as a whole by resume, only while every loop is held.
/// </summary>
internal sealed class ServedDisk(EventLoop home, bool parkOnNoSpace)
{
    // What one client may have in progress; it has to wait for the rest, which stays in its socket. Enough to keep a
    // fast disk busy; a file in memory is copied at once, where more would only fall out of the processor's cache.
    private const int PipelineBytesOfDisk = 8 << 20;
    private const int PipelineBytesOfMemory = 2 << 20;

    // Of a block device: what memory was set aside for.
    private const int PipelineBytesOfReserve = 2 << 20;

    private IDisk? _disk;
    private FlushClient? _blockDevice;
    private long _size;
    private int _losses;
    private int _stalled;

    public EventLoop Home { get; } = home;

    /// <summary>Whether writes that find no space wait and are tried again, instead of failing.</summary>
    public bool ParkOnNoSpace { get; } = parkOnNoSpace;

    /// <summary>How many requests wait for space. Any thread.</summary>
    public int Stalled => Volatile.Read(ref _stalled);

    /// <summary>Called when <see cref="Stalled"/> has changed; on any loop, and must not wait.</summary>
    internal Action? StalledChanged { get; init; }

    /// <summary>Whether it is offered as a block device, for whose server memory was set aside.</summary>
    internal bool IsBlockDevice { get; init; }

    /// <summary>How fast requests may be.</summary>
    public RequestLimits Limits { get; } = new();

    /// <summary>Where requests that have ended are noted.</summary>
    public RequestTrace Trace { get; } = new();

    /// <summary>What requests may need of the home loop's memory at a time; null if that has no limit.</summary>
    internal WorkBudget? Budget { get; init; }

    /// <summary>The disk. Not to be asked for while suspended: no request runs then.</summary>
    public IDisk Disk => Volatile.Read(ref _disk)!;

    /// <summary>Bytes of the disk; the last known while suspended.</summary>
    public long Size => Volatile.Read(ref _size);

    /// <summary>Bytes of requests that one client may have in progress; a single larger request may pass.</summary>
    public int PipelineBytes { get; private set; } = PipelineBytesOfDisk;

    /// <summary>As <see cref="IDisk.ClusterBytes"/>; of the last disk while suspended.</summary>
    internal long ClusterBytes { get; private set; }

    /// <summary>Bytes that a long request does before a suspend may interrupt it: <see cref="IDisk.TurnBytes"/>.</summary>
    internal long PieceBytes { get; private set; }

    /// <summary>The kernel with its block device: one client, however many queues or connections it has.</summary>
    internal FlushClient BlockDevice => LazyInitializer.EnsureInitialized(ref _blockDevice, () => new FlushClient(this, told: 0));

    /// <summary>A client that comes now.</summary>
    internal FlushClient NewClient() => new(this, Losses);

    /// <summary>As <see cref="IDisk.TurnsMayGrow"/>.</summary>
    internal bool PiecesGrow { get; private set; }

    /// <summary>How often something was lost that no flush of then was told of. Any thread.</summary>
    internal int Losses => Volatile.Read(ref _losses);

    /// <summary>Bytes that a request of this length may need besides its own buffer: copy on write fills up two clusters.</summary>
    internal long WorkBytesOf(long length) => (long)BitOperations.RoundUpToPowerOf2((ulong)length) + (2 * ClusterBytes);

    /// <summary>
    /// Writes that were acknowledged may be lost, and the disk that knew it is closed: the next flush of every client fails.
    /// Any thread.
    /// </summary>
    public void NoteLoss() => Interlocked.Increment(ref _losses);

    /// <summary>So many more requests wait for space, or fewer. Any loop.</summary>
    public void NoteStalls(int more)
    {
        Interlocked.Add(ref _stalled, more);
        StalledChanged?.Invoke();
    }

    /// <summary>Puts a disk in place, while no request is in progress.</summary>
    public void Set(IDisk? disk)
    {
        if (disk is not null)
        {
            Volatile.Write(ref _size, disk.Size);
            (ClusterBytes, PieceBytes, PiecesGrow) = (disk.ClusterBytes, disk.TurnBytes, disk.TurnsMayGrow);
            var pipeline = disk.File.IsMemory ? PipelineBytesOfMemory : PipelineBytesOfDisk;
            PipelineBytes = IsBlockDevice ? PipelineBytesOfReserve : pipeline;
        }

        Volatile.Write(ref _disk, disk);
    }
}
