using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Crypto;

/// <summary>
/// The guest data of an encrypted image: what is read is decrypted, what is written is encrypted first, in memory of its own. The
/// vector of a sector is its number in the file, or on the disk with the encryption of old.
/// </summary>
/// <remarks>
/// Zeroes of the file do not decrypt to zeroes. So nothing here is a hole, new space of the file reads as anything, and zeroes are
/// written as their ciphertext.
/// </remarks>
/// <param name="inner">the ciphertext</param>
/// <param name="ownsInner">whether this object closes it: not the image file, which is the image's</param>
/// <param name="cipher">with the key; this object disposes of it</param>
/// <param name="isByGuest">whether vectors are of the disk's sectors: then it is only read, by <see cref="ReadGuestAsync"/></param>
internal sealed class EncryptedStorage(IBlockStorage inner, bool ownsInner, SectorCipher cipher, bool isByGuest)
    : IBlockStorage, ICipherFile
{
    // What is larger than two of these is worth waking other threads for.
    private const int PieceBytes = 256 * 1024;

    // What one write encrypts ahead of the file.
    private const int LargestBounce = 1 << 20;

    private const int SectorShift = 9;

    /// <summary>
    /// Threads that help with what is large, besides the one that asks and that of whoever waits for the bytes: on a machine with
    /// two processors help costs more than it gives.
    /// </summary>
    internal int Helpers { get; set; } = Math.Max(0, Environment.ProcessorCount - 2);

    public string Path => inner.Path;

    public long Length => inner.Length;

    public bool ReadOnly => inner.ReadOnly || isByGuest;

    public int OffsetAlignment => Math.Max(ICipherFile.SectorSize, inner.OffsetAlignment);

    public int MemoryAlignment => inner.MemoryAlignment;

    public int BlockBytes => inner.BlockBytes;

    /// <summary>All of the file: it has no holes to look for.</summary>
    public long AllocatedBytes => inner.Length;

    public ICipherFile? CipherFile => inner.DirectFile is not null && !isByGuest ? this : null;

    public bool HasFixedLength => inner.HasFixedLength;

    public bool IsMemory => inner.IsMemory;

    public FileIdentity? Identity => inner.Identity;

    FileStorage ICipherFile.File => inner.DirectFile!;

    public long? Modified() => inner.Modified();

    public FileRange FindRange(long offset) => FileRange.DataToTheEnd;

    public LoopTask<int> ReadAsync(long offset, NativeBuffer buffer)
    {
        Invariant.Holds(!isByGuest, "what is encrypted by the guest's sectors is read by them", offset);
        return ReadSectorsAsync(offset, offset, buffer);
    }

    public LoopTask<int> ReadGuestAsync(long offset, long guestOffset, NativeBuffer buffer) =>
        ReadSectorsAsync(offset, isByGuest ? guestOffset : offset, buffer);

    public async LoopTask<int> WriteAsync(long offset, NativeBuffer buffer)
    {
        TransferRules.RequireWrite(this, offset, buffer);
        if (buffer.IsEmpty)
            return 0;
        var pool = LoopScheduler.Current.Buffers;
        var bounce = pool.Rent(Math.Min(buffer.Length, LargestBounce));
        var error = 0;
        while (!buffer.IsEmpty && error == 0)
        {
            var piece = bounce.Slice(0, Math.Min(buffer.Length, bounce.Length));
            error = await ConvertAsync(offset, buffer.Slice(0, piece.Length), piece, encrypt: true);
            if (error == 0)
                error = await inner.WriteAsync(offset, piece);
            offset += piece.Length;
            buffer = buffer.Slice(piece.Length);
        }

        pool.Return(bounce);
        return error;
    }

    public LoopTask<int> FlushAsync() => inner.FlushAsync();

    /// <summary>A hole would not read as zeroes.</summary>
    public LoopTask<int> PunchAsync(long offset, long length)
    {
        TransferRules.RequireRange(this, offset, length);
        return new LoopTask<int>(-Errno.EOPNOTSUPP);
    }

    public async LoopTask<int> ZeroAsync(long offset, long length)
    {
        TransferRules.RequireRange(this, offset, length);
        var pool = LoopScheduler.Current.Buffers;
        var zeroes = pool.Rent((int)Math.Min(length, PieceBytes));
        zeroes.Clear();
        var error = 0;
        while (length > 0 && error == 0)
        {
            var piece = zeroes.Slice(0, (int)Math.Min(length, zeroes.Length));
            error = await WriteAsync(offset, piece);
            offset += piece.Length;
            length -= piece.Length;
        }

        pool.Return(zeroes);
        return error;
    }

    public LoopTask<int> SetLengthAsync(long length) => inner.SetLengthAsync(length);

    public int Decrypt(long offset, NativeBuffer buffer) => cipher.Decrypt(offset >> SectorShift, buffer, buffer);

    public int Encrypt(long offset, NativeBuffer from, NativeBuffer to) => cipher.Encrypt(offset >> SectorShift, from, to);

    public LoopTask<int> DecryptAsync(long offset, NativeBuffer buffer) => ConvertAsync(offset, buffer, buffer, encrypt: false);

    public LoopTask<int> EncryptAsync(long offset, NativeBuffer from, NativeBuffer to) => ConvertAsync(offset, from, to, encrypt: true);

    public void Dispose()
    {
        cipher.Dispose();
        if (ownsInner)
            inner.Dispose();
    }

    /// <param name="offset">in the file</param>
    /// <param name="vectorOffset">the one that vectors are made of: as many bytes past the start of a sector</param>
    /// <param name="buffer">where the plain bytes go</param>
    private async LoopTask<int> ReadSectorsAsync(long offset, long vectorOffset, NativeBuffer buffer)
    {
        TransferRules.RequireRead(offset, buffer);
        if (buffer.IsEmpty)
            return 0;
        if (((offset | (uint)buffer.Length) & (ICipherFile.SectorSize - 1)) != 0)
            return await ReadPartsOfSectorsAsync(offset, vectorOffset, buffer);
        var error = await inner.ReadAsync(offset, buffer);
        return error < 0 ? error : await ConvertAsync(vectorOffset, buffer, buffer, encrypt: false);
    }

    private async LoopTask<int> ReadPartsOfSectorsAsync(long offset, long vectorOffset, NativeBuffer buffer)
    {
        var start = Rounding.Down(offset, ICipherFile.SectorSize);
        var end = Rounding.Up(offset + buffer.Length, ICipherFile.SectorSize);
        var pool = LoopScheduler.Current.Buffers;
        var sectors = pool.Rent(checked((int)(end - start)));
        var error = await inner.ReadAsync(start, sectors);
        if (error >= 0)
            error = await ConvertAsync(vectorOffset - (offset - start), sectors, sectors, encrypt: false);
        if (error >= 0)
            sectors.Span.Slice((int)(offset - start), buffer.Length).CopyTo(buffer.Span);
        pool.Return(sectors);
        return error;
    }

    /// <summary>Decrypts or encrypts whole sectors; what is large by several threads, of which the calling one does its part.</summary>
    private LoopTask<int> ConvertAsync(long offset, NativeBuffer from, NativeBuffer to, bool encrypt) =>
        from.Length < 2 * PieceBytes || Helpers == 0 ? new LoopTask<int>(Convert(offset, from, to, encrypt))
            : ConvertLargeAsync(offset, from, to, encrypt);

    private async LoopTask<int> ConvertLargeAsync(long offset, NativeBuffer from, NativeBuffer to, bool encrypt)
    {
        var group = TaskGroup.Rent();
        var pieces = Math.Min(from.Length / PieceBytes, Helpers + 1);
        var length = (int)Rounding.Up(from.Length / pieces, ICipherFile.SectorSize);
        var done = 0;
        for (; from.Length - done > length; done += length)
            group.Add(ConvertElsewhereAsync(offset + done, from.Slice(done, length), to.Slice(done, length), encrypt));
        var last = Convert(offset + done, from.Slice(done), to.Slice(done), encrypt);
        var error = await group.WaitAsync();
        return error < 0 ? error : last;
    }

    private int Convert(long offset, NativeBuffer from, NativeBuffer to, bool encrypt) =>
        encrypt ? cipher.Encrypt(offset >> SectorShift, from, to) : cipher.Decrypt(offset >> SectorShift, from, to);

    private async LoopTask<int> ConvertElsewhereAsync(long offset, NativeBuffer from, NativeBuffer to, bool encrypt)
    {
        var work = CipherWork.Rent();
        (work.Cipher, work.Sector, work.From, work.To, work.IsEncryption) = (cipher, offset >> SectorShift, from, to, encrypt);
        var error = await LoopScheduler.Current.OffloadAsync(work);
        work.Recycle();
        return error;
    }

    /// <summary>One piece for a helper thread.</summary>
    private sealed class CipherWork : IOffloadWork
    {
        [ThreadStatic]
        private static CipherWork? s_free;

        private CipherWork? _next;

        public SectorCipher Cipher { get; set; } = null!;

        public long Sector { get; set; }

        public NativeBuffer From { get; set; }

        public NativeBuffer To { get; set; }

        public bool IsEncryption { get; set; }

        public static CipherWork Rent()
        {
            var work = s_free;
            if (work is null)
                return new CipherWork();
            s_free = work._next;
            return work;
        }

        public void Recycle()
        {
            Cipher = null!;
            _next = s_free;
            s_free = this;
        }

        public int Execute() => IsEncryption ? Cipher.Encrypt(Sector, From, To) : Cipher.Decrypt(Sector, From, To);
    }
}
