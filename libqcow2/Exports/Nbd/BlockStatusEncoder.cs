using System;
using System.Buffers.Binary;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>
/// Builds one block status chunk in the caller's memory: NBD_REPLY_TYPE_BLOCK_STATUS (32-bit descriptors) with structured
/// replies, NBD_REPLY_TYPE_BLOCK_STATUS_EXT (64-bit) with extended headers. Equal neighbours become one descriptor,
/// nothing reaches past the end of the request, and NBD_CMD_FLAG_REQ_ONE ends it after one descriptor.
/// </summary>
/// <example><code>
/// var status = new BlockStatusEncoder(buffer, mode, request, context.Id, done: true);
/// while (status.Add(extentLength, flags))
///     ... next extent ...
/// var bytes = status.Finish();
/// </code></example>
internal ref struct BlockStatusEncoder
{
    private readonly Span<byte> _buffer;
    private readonly RequestHeader _request;
    private readonly ReplyMode _mode;
    private readonly bool _done;
    private int _used;
    private int _count;
    private ulong _lastLength;
    private uint _lastFlags;
    private ulong _remaining;
    private bool _full;

    /// <param name="buffer">at least <see cref="MinimumBuffer"/>; its end limits the number of descriptors</param>
    /// <param name="mode">structured or extended</param>
    /// <param name="request">the block status request, validated (its length is not 0)</param>
    /// <param name="contextId">the context, as negotiated</param>
    /// <param name="done">this chunk ends the reply: true for the last context</param>
    public BlockStatusEncoder(Span<byte> buffer, ReplyMode mode, in RequestHeader request, uint contextId, bool done)
    {
        if (buffer.Length < MinimumBuffer(mode))
            throw new ArgumentException($"{buffer.Length} bytes are too few for one block status descriptor");
        _buffer = buffer;
        _request = request;
        _mode = mode;
        _done = done;
        _remaining = request.Length;
        _used = PayloadStart;
        BinaryPrimitives.WriteUInt32BigEndian(buffer[ReplyEncoder.ChunkHeaderSize(mode)..], contextId);
    }

    /// <summary>Bytes of a chunk with one descriptor.</summary>
    public static int MinimumBuffer(ReplyMode mode) => BufferFor(mode, 1);

    /// <summary>Bytes of a chunk with so many descriptors.</summary>
    public static int BufferFor(ReplyMode mode, int descriptors) => mode == ReplyMode.Extended
        ? checked(ReplyEncoder.ExtendedChunkSize + 8 + (descriptors * 16))
        : checked(ReplyEncoder.StructuredChunkSize + 4 + (descriptors * 8));

    /// <summary>Bytes of the request that the extents added so far describe.</summary>
    public readonly ulong Covered => _request.Length - _remaining;

    private readonly int PayloadStart => ReplyEncoder.ChunkHeaderSize(_mode) + (_mode == ReplyMode.Extended ? 8 : 4);

    private readonly int DescriptorSize => _mode == ReplyMode.Extended ? 16 : 8;

    /// <summary>Adds the next extent; the first begins at the offset of the request, each other where the last ended.</summary>
    /// <param name="length">bytes; 0 adds nothing; may reach past the end of the request</param>
    /// <param name="flags">status in the terms of the context</param>
    /// <returns>whether another extent is wanted; if not, this one may have been ignored</returns>
    public bool Add(ulong length, uint flags)
    {
        length = Math.Min(length, _remaining);
        if (_full || length == 0)
            return !_full && _remaining > 0;

        if (_count > 0 && _lastFlags == flags)
        {
            _lastLength += length;
        }
        else
        {
            if (_count > 0 && !StartNext())
                return false;
            _lastLength = length;
            _lastFlags = flags;
            _count++;
        }

        _remaining -= length;
        return _remaining > 0;
    }

    /// <summary>Writes what is left and the header.</summary>
    /// <returns>bytes of the whole chunk, from the start of the buffer</returns>
    /// <exception cref="InvalidOperationException">no extent was added: a successful reply must have one</exception>
    public int Finish()
    {
        if (_count == 0)
            throw new InvalidOperationException("a block status chunk needs at least one extent");
        WriteLast();
        var headerSize = ReplyEncoder.ChunkHeaderSize(_mode);
        if (_mode == ReplyMode.Extended)
            BinaryPrimitives.WriteUInt32BigEndian(_buffer[(headerSize + 4)..], (uint)_count);
        ReplyEncoder.WriteChunk(
            _buffer, _mode, _request, _done ? ReplyFlags.Done : ReplyFlags.None,
            _mode == ReplyMode.Extended ? ReplyType.BlockStatusExtended : ReplyType.BlockStatus, (uint)(_used - headerSize));
        return _used;
    }

    private bool StartNext()
    {
        _full = _request.Has(CommandFlags.RequestOne) || _buffer.Length - _used < 2 * DescriptorSize;
        if (!_full)
            WriteLast();
        return !_full;
    }

    private void WriteLast()
    {
        var descriptor = _buffer.Slice(_used, DescriptorSize);
        if (_mode == ReplyMode.Extended)
        {
            BinaryPrimitives.WriteUInt64BigEndian(descriptor, _lastLength);
            BinaryPrimitives.WriteUInt64BigEndian(descriptor[8..], _lastFlags);
        }
        else
        {
            // Fits: with compact headers the length of the request, which nothing passes, has 32 bits.
            BinaryPrimitives.WriteUInt32BigEndian(descriptor, (uint)_lastLength);
            BinaryPrimitives.WriteUInt32BigEndian(descriptor[4..], _lastFlags);
        }

        _used += DescriptorSize;
    }
}
