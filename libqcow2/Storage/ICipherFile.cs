using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Storage;

/// <summary>
/// A file that holds the bytes of a storage encrypted, at the same offsets: whoever moves them straight between memory and the file
/// decrypts what was read, and writes what was encrypted elsewhere before. Any thread.
/// </summary>
internal interface ICipherFile
{
    /// <summary>Bytes of a sector: what offset and length of a transfer must be a multiple of, beside what the file asks for.</summary>
    const int SectorSize = 512;

    FileStorage File { get; }

    /// <summary>Whether a transfer of these bytes moves whole sectors, and what the file takes.</summary>
    bool IsAligned(long offset, int length) =>
        ((offset | (uint)length) & (System.Math.Max(SectorSize, File.OffsetAlignment) - 1)) == 0;

    /// <summary>Decrypts whole sectors where they are, on this thread.</summary>
    /// <param name="offset">where in the file they begin</param>
    /// <param name="buffer">what was read from there</param>
    /// <returns>0 or a negative errno</returns>
    int Decrypt(long offset, NativeBuffer buffer);

    /// <summary>Encrypts whole sectors into other memory: that of a client is never changed, nor seen half encrypted.</summary>
    int Encrypt(long offset, NativeBuffer from, NativeBuffer to);

    /// <summary>As <see cref="Decrypt"/>, on a loop: what is large is done by helper threads.</summary>
    LoopTask<int> DecryptAsync(long offset, NativeBuffer buffer);

    /// <summary>As <see cref="Encrypt"/>, on a loop: what is large is done by helper threads.</summary>
    LoopTask<int> EncryptAsync(long offset, NativeBuffer from, NativeBuffer to);
}
