using Qcow2Blk.Buffers;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>
/// Memory that bytes of a connection are received into. Payloads of small writes are written to the file from
/// here, so the chunk lives until the last of them is done.
/// </summary>
internal sealed class ReceiveChunk
{
    private int _references = 1;

    public NativeBuffer Memory { get; private set; }

    /// <summary>Where the bytes begin that were not yet looked at.</summary>
    public int Start { get; set; }

    /// <summary>Where the received bytes end.</summary>
    public int End { get; set; }

    public int Available => End - Start;

    public int Room => Memory.Length - End;

    /// <summary>Whether only the connection itself uses it.</summary>
    public bool IsExclusive => _references == 1;

    public static ReceiveChunk Rent(NativeBufferPool pool, int length) => new() { Memory = pool.Rent(length) };

    public void AddReference() => _references++;

    public void Release(NativeBufferPool pool)
    {
        if (--_references > 0)
            return;
        pool.Return(Memory);
        Memory = default;
    }
}
