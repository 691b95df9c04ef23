using System;
using System.IO;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Storage;

/// <summary>A regular file or block device, read and written through the ring of whichever loop calls.</summary>
internal sealed class FileStorage : IBlockStorage
{
    private readonly bool _isBlockDevice;
    private readonly FileHoles _holes = new();
    private long _length;

    // Where writes end that were begun, and perhaps have not ended: the file is as long as that at any moment.
    private long _reach;
    private bool _zeroRangeRefused;

    private unsafe FileStorage(string path, int descriptor, bool readOnly, bool direct)
    {
        Path = path;
        Descriptor = descriptor;
        ReadOnly = readOnly;
        Direct = direct;
        var result = Stat.OfFile(descriptor, STATX_BASIC_STATS | Stat.STATX_DIOALIGN, out var aligned);
        ref readonly var status = ref aligned.file;
        if (result < 0)
            throw new IOException($"cannot stat {path}: {Errno.Text(result)}");
        _isBlockDevice = status.IsBlockDevice;
        _length = _isBlockDevice ? Files.Seek(descriptor, 0, SEEK_END) : (long)Math.Min(status.stx_size, long.MaxValue);
        if (_length < 0)
            throw new IOException($"cannot find the size of {path}: {Errno.Text((int)_length)}");
        if (_length > Limits.MaxFileBytes)
        {
            throw new IOException(
                $"cannot open {path}: its size of {_length} bytes is more than {Limits.MaxFileBytes}, the largest file or disk");
        }

        AllocatedBytes = _isBlockDevice ? _length : (long)Math.Min(status.stx_blocks, (ulong)(Limits.MaxFileBytes / 512)) * 512;
        Identity = new FileIdentity(status.stx_dev_major, status.stx_dev_minor, status.stx_ino);

        // Only a regular file: a device's node lies on devtmpfs, which is a tmpfs too, but its bytes do not.
        IsMemory = !_isBlockDevice && FileSystemType() == Files.TMPFS_MAGIC;
        (OffsetAlignment, MemoryAlignment) = direct ? FindAlignment(aligned) : (1, 1);
        BlockBytes = direct && !_isBlockDevice && !IsMemory ? FindBlock() : 1;
    }

    public string Path { get; }

    public bool ReadOnly { get; }

    /// <summary>Whether the page cache is passed by (O_DIRECT).</summary>
    public bool Direct { get; }

    public FileIdentity? Identity { get; }

    public FileStorage? DirectFile => this;

    public long Length => Volatile.Read(ref _length);

    public long AllocatedBytes { get; }

    public int OffsetAlignment { get; }

    public int MemoryAlignment { get; }

    public int BlockBytes { get; }

    public bool IsMemory { get; }

    public bool HasFixedLength => _isBlockDevice;

    public int Descriptor { get; private set; }

    /// <summary>The image lock held through this descriptor; let go when the file is closed.</summary>
    public ImageLock? Lock { get; set; }

    /// <summary>As the other, for a file of whose name nobody has checked anything.</summary>
    public static int Open(string path, bool readOnly, bool direct, out FileStorage? storage)
    {
        storage = null;
        var error = FoundFile.Find(path, out var found);
        if (error < 0)
            return error;
        using (found)
            return Open(found!, readOnly, direct, out storage);
    }

    /// <summary>Opens a file. With <paramref name="direct"/> but no support for it, returns -EINVAL and no storage.</summary>
    /// <returns>0, or a negative errno of open(2)</returns>
    /// <exception cref="IOException">it is neither a regular file nor a block device</exception>
    public static int Open(FoundFile found, bool readOnly, bool direct, out FileStorage? storage)
    {
        ArgumentNullException.ThrowIfNull(found);
        storage = null;
        found.RequireImageFile();
        var flags = (readOnly ? O_RDONLY : O_RDWR) | O_CLOEXEC | (direct ? O_DIRECT : 0);
        var descriptor = found.Open(flags);
        if (descriptor < 0)
            return descriptor;
        try
        {
            storage = new FileStorage(found.Path, descriptor, readOnly, direct);
            return 0;
        }
        catch
        {
            Files.Close(descriptor);
            throw;
        }
    }

    public FileRange FindRange(long offset) => _isBlockDevice ? FileRange.DataToTheEnd : _holes.Find(Descriptor, offset);

    /// <summary>Whether all of the range is known to hold data, without asking the file. Any loop.</summary>
    internal bool IsKnownData(long offset, int length) => _isBlockDevice || _holes.IsKnownData(offset, length);

    public LoopTask<int> ReadAsync(long offset, NativeBuffer buffer)
    {
        RequireOpen(offset);
        TransferRules.RequireRead(offset, buffer);
        if (buffer.IsEmpty)
            return new LoopTask<int>(0);
        return IsAligned(offset, buffer) ? FileOperation.Read(this, offset, buffer) : ReadBouncedAsync(offset, buffer);
    }

    public LoopTask<int> WriteAsync(long offset, NativeBuffer buffer)
    {
        RequireLocked(offset);
        TransferRules.RequireWrite(this, offset, buffer);
        if (buffer.IsEmpty)
            return new LoopTask<int>(0);
        if (offset + buffer.Length > Length)
            Raise(ref _reach, offset + buffer.Length);
        return IsAligned(offset, buffer) ? FileOperation.Write(this, offset, buffer) : WriteBouncedAsync(offset, buffer);
    }

    public LoopTask<int> FlushAsync()
    {
        RequireOpen(0);
        return ReadOnly ? new LoopTask<int>(0) : FileOperation.Sync(this);
    }

    public LoopTask<int> PunchAsync(long offset, long length)
    {
        RequireLocked(offset);
        TransferRules.RequireRange(this, offset, length);
        return AllocateAsync(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
    }

    public LoopTask<int> ZeroAsync(long offset, long length)
    {
        RequireLocked(offset);
        TransferRules.RequireRange(this, offset, length);
        return ZeroRangeAsync(offset, length);
    }

    private async LoopTask<int> ZeroRangeAsync(long offset, long length)
    {
        if (!_zeroRangeRefused)
        {
            var result = await AllocateAsync(Files.FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length);
            if (result == 0)
                return 0;
            if (result != -Errno.EOPNOTSUPP)
                return result;

            // A punched hole reads as zeroes as well; what cannot do that gets zeroes written.
            _zeroRangeRefused = !_isBlockDevice;
        }

        var punched = await PunchAsync(offset, length);
        return punched == -Errno.EOPNOTSUPP ? await WriteZeroesAsync(offset, length) : punched;
    }

    public LoopTask<int> SetLengthAsync(long length)
    {
        if (_isBlockDevice)
            return new LoopTask<int>(-Errno.EINVAL);
        RequireLocked(length);
        TransferRules.RequireLength(this, length);
        if (length > _length)
        {
            // Grows, never cuts: a write past the end may have made the file longer than we know, or be about to.
            var actual = Files.Seek(Descriptor, 0, SEEK_END);
            if (actual < 0)
                return new LoopTask<int>((int)actual);
            NoteWritten(actual);
            if (actual >= length)
                return new LoopTask<int>(0);
            length = Math.Max(length, Volatile.Read(ref _reach));
        }
        else
        {
            Volatile.Write(ref _reach, length);
        }

        var result = Files.Truncate(Descriptor, length);
        _holes.Forget(length, long.MaxValue);
        if (result == 0)
            Volatile.Write(ref _length, length);
        return new LoopTask<int>(result);
    }

    public void Dispose()
    {
        // By hand: a child process between fork and exec may hold the description a little longer than we do.
        Lock?.Release();
        Lock = null;
        if (Descriptor >= 0)
            Files.Close(Descriptor);
        Descriptor = -1;
    }

    public long? Modified()
    {
        var isLocal = FileSystemType() is Files.TMPFS_MAGIC or Files.EXT4_SUPER_MAGIC or Files.XFS_SUPER_MAGIC or Files.BTRFS_SUPER_MAGIC
            or Files.F2FS_SUPER_MAGIC;
        return isLocal && !_isBlockDevice && Stat.OfFile(Descriptor, out var status) == 0
            ? (status.stx_mtime.tv_sec * 1000) + (status.stx_mtime.tv_nsec / 1_000_000)
            : null;
    }

    internal void NoteWritten(long end) => Raise(ref _length, end);

    private static void Raise(ref long value, long least)
    {
        var known = Volatile.Read(ref value);
        while (least > known)
        {
            var before = Interlocked.CompareExchange(ref value, least, known);
            if (before == known)
                return;
            known = before;
        }
    }

    /// <summary>After the close its number may be another file's.</summary>
    private void RequireOpen(long offset) => Invariant.Holds(Descriptor >= 0, "nothing is asked of a file that was closed", offset);

    /// <summary>While the lock is let go (a suspend) the image is others' to change.</summary>
    private void RequireLocked(long offset)
    {
        RequireOpen(offset);
        Invariant.Holds(Lock is null || Lock.Held, "an image is changed only while its lock is held", offset);
    }

    private bool IsAligned(long offset, NativeBuffer buffer) =>
        ((offset | (uint)buffer.Length) & (OffsetAlignment - 1)) == 0 && (buffer.Address & (MemoryAlignment - 1)) == 0;

    private unsafe (int Offset, int Memory) FindAlignment(in statx_aligned status)
    {
        if (IsMemory)
            return (1, 1);
        if ((status.file.stx_mask & Stat.STATX_DIOALIGN) != 0 && status.stx_dio_offset_align != 0)
            return ((int)status.stx_dio_offset_align, (int)status.stx_dio_mem_align);
        int sector;
        if (_isBlockDevice && Files.SectorSize(Descriptor, &sector) == 0)
            return (sector, sector);

        // Old kernels do not say: 4096 is right for every device there is, 512 is tried because most take it.
        return ReadsAt512() ? (512, 512) : (4096, 4096);
    }

    private unsafe long FileSystemType()
    {
        statfs_buffer fileSystem;
        return Files.StatFileSystem(Descriptor, &fileSystem) == 0 ? fileSystem.f_type : 0;
    }

    /// <summary>Bytes of a block of the file system; of network file systems, which say what they like to transfer, a page.</summary>
    private unsafe int FindBlock()
    {
        const int page = 4096, largest = 65536;
        statfs_buffer fileSystem;
        var block = Files.StatFileSystem(Descriptor, &fileSystem) == 0 ? (long)fileSystem.f_bsize : page;
        return block is > 0 and <= largest && long.IsPow2(block) ? (int)block : page;
    }

    private unsafe bool ReadsAt512()
    {
        var memory = Files.Map(8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == 0)
            return false;
        var result = Files.Read(Descriptor, (void*)(memory + 512), 512, 0);
        Files.Unmap(memory, 8192);
        return result >= 0;
    }

    /// <summary>Punches or zeroes whole blocks of the file system; parts of them are written: see <see cref="BlockBytes"/>.</summary>
    private async LoopTask<int> AllocateAsync(int mode, long offset, long length)
    {
        var end = offset + length;
        var (first, last) = (Rounding.Up(offset, BlockBytes), Rounding.Down(end, BlockBytes));

        // Nothing is behind the end, and writing there would make the file longer.
        var stop = Math.Min(end, Length);
        if (BlockBytes == 1 || (first == offset && last == end) || stop % OffsetAlignment != 0)
            return await AllocateWholeAsync(mode, offset, length);
        if (first >= last)
            return await ClearAsync(offset, stop);
        var result = await AllocateWholeAsync(mode, first, last - first);
        if (result == 0)
            result = await ClearAsync(offset, Math.Min(first, stop));
        return result == 0 ? await ClearAsync(last, stop) : result;
    }

    /// <summary>Writes zeroes where there may be something else: a hole stays one.</summary>
    private LoopTask<int> ClearAsync(long offset, long end) =>
        offset >= end || Files.Seek(Descriptor, offset, Files.SEEK_DATA) is var data && (data >= end || data == -Errno.ENXIO)
            ? new LoopTask<int>(0)
            : WriteZeroesAsync(offset, end - offset);

    private async LoopTask<int> AllocateWholeAsync(int mode, long offset, long length)
    {
        var result = await FileOperation.Allocate(this, mode, offset, length);
        _holes.Forget(offset, offset + length);

        // A device takes whole sectors only, also where the page cache takes any write.
        return result == -Errno.EINVAL && _isBlockDevice ? -Errno.EOPNOTSUPP : result;
    }

    private async LoopTask<int> ReadBouncedAsync(long offset, NativeBuffer buffer)
    {
        var start = Rounding.Down(offset, OffsetAlignment);
        var end = Rounding.Up(offset + buffer.Length, OffsetAlignment);
        var pool = LoopScheduler.Current.Buffers;
        var bounce = pool.Rent(checked((int)(end - start)));
        var result = await FileOperation.Read(this, start, bounce);
        if (result == 0)
            bounce.Span.Slice((int)(offset - start), buffer.Length).CopyTo(buffer.Span);
        pool.Return(bounce);
        return result;
    }

    private async LoopTask<int> WriteBouncedAsync(long offset, NativeBuffer buffer)
    {
        var pool = LoopScheduler.Current.Buffers;
        var bounce = pool.Rent(buffer.Length);
        buffer.Span.CopyTo(bounce.Span);
        var result = await FileOperation.Write(this, offset, bounce);
        pool.Return(bounce);
        return result;
    }

    private async LoopTask<int> WriteZeroesAsync(long offset, long length)
    {
        const int pieceLength = 256 * 1024;
        var pool = LoopScheduler.Current.Buffers;
        var zeroes = pool.Rent((int)Math.Min(length, pieceLength));
        zeroes.Clear();
        var result = 0;
        while (length > 0 && result == 0)
        {
            var piece = zeroes.Slice(0, (int)Math.Min(length, zeroes.Length));
            result = await WriteAsync(offset, piece);
            offset += piece.Length;
            length -= piece.Length;
        }

        pool.Return(zeroes);
        return result;
    }
}
