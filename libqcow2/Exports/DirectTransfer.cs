using Qcow2Blk.Buffers;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Exports;

/// <summary>Whose request it is.</summary>
internal interface IDirectTransferOwner
{
    /// <summary>The transfer has ended; the disk may be anything by now. On the loop of the transfer.</summary>
    /// <param name="result">bytes that were moved, perhaps fewer than asked for; or a negative errno</param>
    void DirectTransferEnded(int result);
}

/// <summary>What <see cref="DirectTransfer.Map"/> has found.</summary>
internal enum DirectMapping
{
    /// <summary>The home loop has to look: tables are not cached, or file and range are not aligned.</summary>
    None,

    /// <summary>The range is known to read as zeroes: nothing has to be read.</summary>
    Zeroes,

    /// <summary>A transfer may start. An epoch is entered.</summary>
    File,
}

/// <summary>
/// The fast path of every export: a range of the disk that lies in one piece of a file is read or written there by one
/// submission on the loop that the request came to; the home loop has no part in it. A request slot owns one for good.
/// </summary>
/// <remarks>
/// From a mapping to a file to the end of the transfer, or to <see cref="Leave"/>, an epoch of the disk is held: what the range
/// was mapped to is not used for anything else. What cannot go this way, and what ends short or fails, goes to the home loop.
/// Bytes of an encrypted image are decrypted where they were read to, and encrypted into memory of this object before they are written.
/// Bytes of a remote base are read from the file of its cache, and count if they were there all the time.
/// </remarks>
internal sealed unsafe class DirectTransfer : IRingOperation, ICompletionSink<int>
{
    // A larger write needs as much memory again: the home loop encrypts it piece by piece.
    private const int LargestEncrypted = 4 << 20;

    private readonly EventLoop _loop;
    private readonly IDirectTransferOwner _owner;
    private readonly ulong _userData;
    private IDisk? _disk;
    private FileStorage _file = null!;
    private ICipherFile? _cipher;
    private ICachedFile? _cached;
    private ulong _mark;
    private NativeBuffer _plain;
    private NativeBuffer _encrypted;
    private FileExtent _extent;
    private int _length;
    private int _parity;
    private bool _isWrite;

    /// <param name="loop">where the requests of the owner come in; the calling thread is its</param>
    /// <param name="owner">told of the end of each transfer</param>
    public DirectTransfer(EventLoop loop, IDirectTransferOwner owner)
    {
        _loop = loop;
        _owner = owner;
        _userData = (ulong)loop.Register(this);
    }

    /// <summary>Where the range is, once it is mapped to a file.</summary>
    public FileStorage File => _file;

    /// <summary>Where in the file the range begins.</summary>
    public long HostOffset => _extent.Offset;

    /// <summary>Whether the bytes in the file are those of the disk, so that the kernel may move them: <see cref="StartFixed"/>.</summary>
    public bool IsPlain => _cipher is null;

    /// <summary>What the memory of the transfer must be a multiple of.</summary>
    public int MemoryAlignment => _cipher is not null && _isWrite ? 1 : _file.MemoryAlignment;

    /// <summary>Whether the file may have a hole there, which nothing is known of yet.</summary>
    public bool MayBeHole => _extent.MayBeHole;

    /// <summary>Finds the one piece of a file that holds the whole range.</summary>
    /// <param name="disk">the disk of the moment</param>
    /// <param name="isWrite">whether the piece is to be written</param>
    /// <param name="offset">of the range on the disk</param>
    /// <param name="length">of the range</param>
    /// <param name="orZeroes">whether to look for zeroes, too, where there is no such piece</param>
    public DirectMapping Map(IDisk disk, bool isWrite, long offset, int length, bool orZeroes)
    {
        _parity = disk.Epochs.Enter(_loop.Index);
        var mapped = isWrite ? disk.TryMapWrite(offset, length, out _extent) : disk.TryMapRead(offset, length, out _extent);
        if (mapped && Find(length, isWrite) is { } file)
        {
            (_disk, _file, _length, _isWrite) = (disk, file, length, isWrite);
            return DirectMapping.File;
        }

        var zeroes = !mapped && orZeroes && disk.TryMapZeroes(offset, length);
        disk.Epochs.Exit(_loop.Index, _parity);
        return zeroes ? DirectMapping.Zeroes : DirectMapping.None;
    }

    /// <summary>No transfer after all.</summary>
    public void Leave()
    {
        var disk = _disk!;
        _disk = null;
        disk.Epochs.Exit(_loop.Index, _parity);
    }

    /// <summary>
    /// Moves the bytes between the file and memory, which is aligned as <see cref="FileStorage.MemoryAlignment"/> says and stays
    /// until the end. With a file in memory that is before this returns: its transfers never wait, and the ring would need a
    /// worker thread for each.
    /// </summary>
    public void Start(nint address)
    {
        _plain = new NativeBuffer(address, _length);
        if (_cipher is null || !_isWrite)
        {
            Submit(address);
            return;
        }

        _encrypted = _loop.Buffers.Rent(_length);
        _cipher.EncryptAsync(_extent.Offset, _plain, _encrypted).CompleteInto(this);
    }

    private void Submit(nint address)
    {
        if (_file.IsMemory)
        {
            var opcode = _isWrite ? IoUring.IORING_OP_WRITE : IoUring.IORING_OP_READ;
            var result = MemoryFile.Run(_file, opcode, _extent.Offset, _length, address, 0);
            Moved(result < 0 ? result : _length);
            return;
        }

        var entry = Prepare(_isWrite ? IoUring.IORING_OP_WRITE : IoUring.IORING_OP_READ);
        entry->addr = (ulong)address;
    }

    /// <summary>
    /// As the other, with memory that the kernel has put into a slot of the ring's buffers. Not for files in memory, and only if
    /// <see cref="IsPlain"/>.
    /// </summary>
    public void StartFixed(ushort slot)
    {
        var entry = Prepare(_isWrite ? IoUring.IORING_OP_WRITE_FIXED : IoUring.IORING_OP_READ_FIXED);
        entry->addr = 0; // The offset inside the slot.
        entry->buf_index = slot;
    }

    void IRingOperation.Completed(int result, uint flags) => Moved(result);

    /// <summary>What was to be encrypted or decrypted is.</summary>
    void ICompletionSink<int>.Completed(int result)
    {
        if (result < 0 || !_isWrite)
            End(result < 0 ? result : _length);
        else
            Submit(_encrypted.Address);
    }

    /// <summary>The file that takes the range as it is, or encrypted; null if the home loop has to look.</summary>
    private FileStorage? Find(int length, bool isWrite)
    {
        _cached = null;
        _cipher = _extent.File.CipherFile;
        if (_cipher is not null)
            return _cipher.IsAligned(_extent.Offset, length) && (!isWrite || length <= LargestEncrypted) ? _cipher.File : null;
        var file = _extent.File.DirectFile ?? FindCached(length);
        return file is not null && ((_extent.Offset | (uint)length) & (file.OffsetAlignment - 1)) == 0 ? file : null;
    }

    /// <summary>The file of a cache that has the whole range. Only bases are cached, which nobody writes.</summary>
    private FileStorage? FindCached(int length)
    {
        if (_extent.File.CachedFile is not { } cached || !cached.IsThere(_extent.Offset, length, out _mark))
            return null;
        _cached = cached;
        return cached.File;
    }

    /// <summary>The bytes are in the file or in memory, or will not be.</summary>
    private void Moved(int result)
    {
        // What lost its place meanwhile may have been read as a hole: as what ends short, it goes to the home loop.
        if (_cached is not null && result > 0 && !_cached.IsStill(_extent.Offset, _length, _mark))
            result = 0;
        if (_cipher is not null && !_isWrite && result == _length)
            _cipher.DecryptAsync(_extent.Offset, _plain).CompleteInto(this);
        else
            End(result);
    }

    private io_uring_sqe* Prepare(byte opcode)
    {
        var entry = _loop.Ring.Next();
        entry->opcode = opcode;
        entry->fd = _file.Descriptor;
        entry->off = (ulong)_extent.Offset;
        entry->len = (uint)_length;
        entry->user_data = _userData;
        return entry;
    }

    private void End(int result)
    {
        if (!_encrypted.IsEmpty)
            _loop.Buffers.Return(_encrypted);
        _encrypted = default;
        // Before the epoch ends: a suspend that waits for it must see that there is something to flush.
        if (_isWrite && result > 0)
            _disk!.NoteDirectWrite();
        Leave();
        _owner.DirectTransferEnded(result);
    }
}
