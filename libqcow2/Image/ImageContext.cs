using System;
using System.Threading;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image;

/// <summary>What the parts of one open image share.</summary>
internal sealed class ImageContext(IBlockStorage file, Header header, HeaderBlock headerBlock)
{
    private int _dataWritten;

    public IBlockStorage File { get; } = file;

    public Header Header { get; } = header;

    public Geometry Geometry { get; } = new(header);

    public HeaderBlock HeaderBlock { get; } = headerBlock;

    public RequestEpochs Epochs { get; } = new();

    /// <summary>Bytes of the smallest metadata write.</summary>
    public int WriteUnit { get; } = Math.Max(512, file.OffsetAlignment);

    /// <summary>0, or the errno every further change is answered with: the image is corrupt, or a sync failed.</summary>
    public int WriteError { get; private set; }

    /// <summary>Why <see cref="WriteError"/> is set.</summary>
    public string? WriteErrorReason { get; private set; }

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
        if (WriteError != 0)
            return;

        // Whatever the disk said: a request that fails for lack of space may be kept and tried again, and this one is for ever.
        WriteError = -Errno.EIO;
        WriteErrorReason = $"sync of {File.Path} failed: {Errno.Text(error)}; what was written since the last flush may be lost";
        Report?.Invoke(WriteErrorReason);
    }

    /// <summary>What is in memory must never be committed: opening failed half-way.</summary>
    public void Abandon()
    {
        if (WriteError == 0)
            (WriteError, WriteErrorReason) = (-Errno.EIO, $"{File.Path} was not opened");
    }

    /// <summary>
    /// The metadata contradicts itself: stop writing, set the corrupt bit, go on serving reads.
    /// </summary>
    /// <returns>-EIO, for the request that found it</returns>
    public int Corrupt(string what)
    {
        if (WriteError != 0)
            return -Errno.EIO;
        WriteError = -Errno.EIO;
        WriteErrorReason = $"{File.Path} is corrupt: {what}";
        if (IsUnproven)
            return -Errno.EIO;
        Report?.Invoke(WriteErrorReason);
        if (!File.ReadOnly && Header.Version >= 3)
            HeaderBlock.SetIncompatibleAsync(IncompatibleFeatures.Corrupt).Forget();
        return -Errno.EIO;
    }
}
