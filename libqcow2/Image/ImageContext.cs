using System;
using System.Threading;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image;

/// <summary>What the parts of one open image share.</summary>
internal sealed class ImageContext
{
    private readonly LoopScheduler _home = LoopScheduler.Current;
    private string? _writeErrorReason;
    private volatile int _writeError;
    private int _dataWritten;
    private int _breaches;
    private int _corruptMarkDue;

    /// <param name="file">the image file</param>
    /// <param name="header">its header, supported</param>
    /// <param name="headerBlock">the sector of it that can be changed</param>
    /// <param name="data">where guest clusters are; null for the image file itself</param>
    public ImageContext(IBlockStorage file, Header header, HeaderBlock headerBlock, IBlockStorage? data = null)
    {
        File = file;
        Data = data ?? file;
        Header = header;
        Geometry = new Geometry(header);
        HeaderBlock = headerBlock;
        WriteUnit = Math.Max(512, file.OffsetAlignment);
        Epochs.Broken = breach => Stop(breach);
    }

    /// <summary>Where metadata is, and compressed clusters.</summary>
    public IBlockStorage File { get; }

    /// <summary>Where guest clusters are: the same file, an external data file, or what encrypts one of these.</summary>
    public IBlockStorage Data { get; }

    /// <summary>Whether the external data file must be what the guest sees, byte for byte, whatever entries say.</summary>
    public bool IsRawDataFile => Geometry.HasDataFile && Header.Autoclear.HasFlag(AutoclearFeatures.RawExternalData);

    /// <summary>Whether host clusters that were never written read as zeroes when they become guest clusters.</summary>
    public bool NewClustersAreZeroes => ReferenceEquals(Data, File);

    /// <summary>As it was read last: when the image was opened, or after an edit.</summary>
    public Header Header { get; set; }

    public Geometry Geometry { get; }

    public HeaderBlock HeaderBlock { get; }

    public RequestEpochs Epochs { get; } = new();

    /// <summary>Bytes of the smallest metadata write.</summary>
    public int WriteUnit { get; }

    /// <summary>Whether the calling thread runs the home loop, which alone changes metadata.</summary>
    public bool IsHome => _home.IsCurrent;

    /// <summary>
    /// 0, or the errno every further change is answered with: the image is corrupt, a sync failed, or an invariant was broken.
    /// </summary>
    public int WriteError => _writeError;

    /// <summary>Why <see cref="WriteError"/> is set.</summary>
    public string? WriteErrorReason => Volatile.Read(ref _writeErrorReason);

    /// <summary>Writes what is dirty to make room in a cache; set once by the committer.</summary>
    public Func<LoopTask<int>> Commit { get; set; } = null!;

    /// <summary>Where metadata lies; null if the image is only read.</summary>
    public MetadataMap? Metadata { get; set; }

    /// <summary>Where changes of the mapping are kept until they are committed; null if nobody would replay them.</summary>
    public RecoveryLog? Log { get; set; }

    /// <summary>Set while a log is compared with the image: what is found wrong must not change the image.</summary>
    public bool IsUnproven { get; set; }

    /// <summary>Told of trouble that no request reports. Set by whoever opened the image.</summary>
    public Action<string>? Report { get; set; }

    /// <summary>What the image begins to point to lies in the file, at the start of a cluster and behind the header.</summary>
    /// <exception cref="InvariantBreach">it does not</exception>
    public void RequireInFile(HostOffset offset, long clusters)
    {
        Invariant.Holds(
            (offset.Value & Geometry.ClusterMask) == 0 && offset.Value > 0, "what the image points to begins with a cluster", offset.Value);
        Invariant.Holds(
            offset.Value + (clusters << Geometry.ClusterBits) <= Rounding.Up(File.Length, Geometry.ClusterSize),
            "what the image points to is in the file",
            offset.Value,
            File.Length);
    }

    /// <summary>As <see cref="RequireInFile"/>, of guest clusters: in an external data file they may begin with the first byte.</summary>
    /// <exception cref="InvariantBreach">it does not</exception>
    public void RequireInData(HostOffset offset, long clusters)
    {
        if (!Geometry.HasDataFile)
        {
            RequireInFile(offset, clusters);
            return;
        }

        Invariant.Holds(
            (offset.Value & Geometry.ClusterMask) == 0 && offset.Value >= 0
                && offset.Value + (clusters << Geometry.ClusterBits) <= Rounding.Up(Data.Length, Geometry.ClusterSize),
            "what an entry points to is in the data file",
            offset.Value,
            Data.Length);
    }

    /// <summary>Everything that was written before the call survives power loss when this returns 0: guest data first.</summary>
    public async LoopTask<int> SyncAsync(bool data)
    {
        var error = data && Geometry.HasDataFile ? await Data.FlushAsync() : 0;
        if (error == 0)
            error = await File.FlushAsync();
        if (error < 0)
            SyncFailed(error);
        return error;
    }

    /// <summary>Data reached the file (but perhaps not the disk). Any loop.</summary>
    public void NoteData()
    {
        Log?.NoteAlive();
        if (Volatile.Read(ref _dataWritten) == 0)
            Volatile.Write(ref _dataWritten, 1);
    }

    public bool HasUnsyncedData => Volatile.Read(ref _dataWritten) != 0;

    /// <summary>Whether data was written since the last call. Call before the sync that covers it.</summary>
    public bool TakeDataWritten() => Interlocked.Exchange(ref _dataWritten, 0) != 0;

    /// <summary>
    /// A sync failed: the kernel may have dropped what it could not write, so nothing later can be promised.
    /// </summary>
    public void SyncFailed(int error)
    {
        // Whatever the disk said: a request that fails for lack of space may be kept and tried again, and this one is for ever.
        var reason = $"sync of {File.Path} failed: {Errno.Text(error)}; what was written since the last flush may be lost";
        if (TryStop(reason))
            Report?.Invoke(reason);
    }

    /// <summary>What is in memory must never be committed: opening failed half-way.</summary>
    public void Abandon() => TryStop($"{File.Path} was not opened");

    /// <summary>
    /// The metadata contradicts itself: stop writing, set the corrupt bit, go on serving reads.
    /// </summary>
    /// <returns>-EIO, for the request that found it</returns>
    public int Corrupt(string what)
    {
        var reason = $"{File.Path} is corrupt: {what}";
        if (!TryStop(reason) || IsUnproven)
            return -Errno.EIO;
        Report?.Invoke(reason);
        _corruptMarkDue = 1;
        MarkCorruptIfDue();
        return -Errno.EIO;
    }

    /// <summary>
    /// An invariant is broken, so what is in memory may be wrong: as if the image were corrupt. Any loop; what other loops meet
    /// is told and marked by the home loop.
    /// </summary>
    /// <returns>-EIO, for the request that met it</returns>
    public int Stop(InvariantBreach breach)
    {
        var reason = $"{File.Path} takes no more writes: qcow2blk broke a rule of its own: {breach.Message};"
            + " run \"qemu-img check\" on it and report this bug";
        var isFirst = TryStop(reason);
        if (isFirst && !IsUnproven)
            Volatile.Write(ref _corruptMarkDue, 1);

        // The first one is told even if something else had stopped the image before; later ones may be what it led to.
        var report = Interlocked.Exchange(ref _breaches, 1) == 0 ? Report : null;
        if (IsHome)
            Finish();
        else
            _home.PostFromAnyThread(Finish);
        return -Errno.EIO;

        void Finish()
        {
            report?.Invoke(reason);
            MarkCorruptIfDue();
        }
    }

    /// <summary>Sets the corrupt bit in the file, once, if something asked for it. Home loop, before the header is drained.</summary>
    public void MarkCorruptIfDue()
    {
        if (Interlocked.Exchange(ref _corruptMarkDue, 0) != 0 && !File.ReadOnly && Header.Version >= 3)
            MarkCorruptAsync().Forget();
    }

    private async LoopTask<int> MarkCorruptAsync()
    {
        try
        {
            return await HeaderBlock.SetIncompatibleAsync(IncompatibleFeatures.Corrupt);
        }
        catch (InvariantBreach breach)
        {
            return Stop(breach);
        }
    }

    /// <returns>false if writing had been stopped before, for another reason</returns>
    private bool TryStop(string reason)
    {
        if (Interlocked.CompareExchange(ref _writeErrorReason, reason, null) is not null)
            return false;
        _writeError = -Errno.EIO;
        return true;
    }
}
