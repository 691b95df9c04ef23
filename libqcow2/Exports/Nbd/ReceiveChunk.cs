using Qcow2Blk.Buffers;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>
/// Memory that bytes of a connection are received into. Payloads of small writes are written to the file from
/// here, so the chunk lives until the last of them is done. Pooled per loop.
/// </summary>
internal sealed class ReceiveChunk(ReceiveChunkPool pool)
{
    private int _references;

    public NativeBuffer Memory { get; private set; }

    /// <summary>The next one in the pool.</summary>
    public ReceiveChunk? Next { get; set; }

    /// <summary>Where the bytes begin that were not yet looked at.</summary>
    public int Start { get; set; }

    /// <summary>Where the received bytes end.</summary>
    public int End { get; set; }

    public int Available => End - Start;

    public int Room => Memory.Length - End;

    /// <summary>Whether only the connection itself uses it.</summary>
    public bool IsExclusive => _references == 1;

    public void Take(NativeBuffer memory)
    {
        Memory = memory;
        _references = 1;
        Start = End = 0;
    }

    public void AddReference() => _references++;

    public void Release()
    {
        if (--_references > 0)
            return;
        var memory = Memory;
        Memory = default;
        pool.Return(this, memory);
    }
}

/// <summary>The receive chunks of one loop.</summary>
internal sealed class ReceiveChunkPool(NativeBufferPool buffers)
{
    private ReceiveChunk? _free;

    public ReceiveChunk Rent(int length)
    {
        var chunk = _free ?? new ReceiveChunk(this);
        _free = chunk.Next;
        chunk.Next = null;
        chunk.Take(buffers.Rent(length));
        return chunk;
    }

    public void Return(ReceiveChunk chunk, NativeBuffer memory)
    {
        buffers.Return(memory);
        chunk.Next = _free;
        _free = chunk;
    }
}
