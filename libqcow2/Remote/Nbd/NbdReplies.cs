using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Text;
using Qcow2Blk.Buffers;
using Qcow2Blk.Protocol;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>
/// The reads that one server was asked for, and its replies as they come: simple and structured ones, in any order. Nothing in a
/// reply is used before it was compared with what was asked for.
/// </summary>
internal sealed partial class NbdReplies(RemoteExport export, LoopScheduler loop, Action freed)
{
    /// <summary>Requests under way at a time: what a server would have to keep.</summary>
    public const int MostReads = 256;

    private const int SimpleBytes = 16, ChunkBytes = 20, SlotBits = 16;

    /// <summary>An error's number, its text, and an offset.</summary>
    private const int MostErrorBytes = 6 + NbdProtocol.MaxNameLength + 8;

    private readonly List<NbdRead> _reads = [];
    private readonly Stack<NbdRead> _free = new();
    private ulong _serial;
    private NbdRead? _current;
    private bool _isLast;

    /// <summary>Reads whose reply has not ended.</summary>
    public int UnderWay { get; private set; }

    public bool IsFull => UnderWay == MostReads;

    /// <summary>Where the next bytes belong; empty if the next thing is a header.</summary>
    public NativeBuffer Payload { get; private set; }

    /// <summary>When the read that waits longest began; null if none waits.</summary>
    public long? Oldest
    {
        get
        {
            long? oldest = null;
            foreach (var read in _reads)
            {
                if (read.IsUnderWay && (oldest is null || read.Began < oldest))
                    oldest = read.Began;
            }

            return oldest;
        }
    }

    /// <summary>Notes a read and writes its request.</summary>
    public LoopTask<FetchResult> Begin(long offset, NativeBuffer buffer, Span<byte> request)
    {
        Invariant.Holds(!IsFull && buffer.Length > 0 && buffer.Length <= export.MaxBlock && offset >= 0
            && offset <= export.Size - buffer.Length, "a read lies in the export", offset, buffer.Length);
        var (read, cookie) = Take();
        RequestHeaderOf(request, NbdCommand.Read, cookie, offset, buffer.Length);
        return read.Begin(cookie, offset, buffer);
    }

    /// <summary>Ends all that have not been answered. Nothing may be on its way into their memory.</summary>
    public void EndAll(in FetchResult result)
    {
        Payload = default;
        _current = null;
        DropStatus();
        foreach (var read in _reads)
        {
            if (read.IsUnderWay)
                read.End(loop, result);
        }
    }

    /// <summary>Bytes of <see cref="Payload"/> have come into it.</summary>
    /// <returns>null, or what is wrong with the reply</returns>
    public string? Filled(int bytes)
    {
        Payload = Payload.Slice(bytes);
        return Payload.IsEmpty ? EndChunk() : null;
    }

    /// <summary>Takes a header, if all of it is there, and what follows it but for the data of a read.</summary>
    /// <returns>null, or what is wrong with it: nothing that the server sends can be understood any more</returns>
    public string? Take(ReadOnlySpan<byte> input, out int taken)
    {
        taken = 0;
        if (input.Length < sizeof(uint))
            return null;
        return BinaryPrimitives.ReadUInt32BigEndian(input) switch
        {
            NbdProtocol.SimpleReplyMagic when export.Mode == ReplyMode.Simple || MayBeStatus(input) => TakeSimple(input, out taken),
            NbdProtocol.StructuredReplyMagic when export.Mode == ReplyMode.Structured => TakeChunk(input, out taken),
            var magic => $"its reply begins with 0x{magic:x8}",
        };
    }

    private static void RequestHeaderOf(Span<byte> target, NbdCommand command, ulong cookie, long offset, int length)
    {
        BinaryPrimitives.WriteUInt32BigEndian(target, NbdProtocol.RequestMagic);
        BinaryPrimitives.WriteUInt16BigEndian(target[4..], (ushort)CommandFlags.None);
        BinaryPrimitives.WriteUInt16BigEndian(target[6..], (ushort)command);
        BinaryPrimitives.WriteUInt64BigEndian(target[8..], cookie);
        BinaryPrimitives.WriteUInt64BigEndian(target[16..], (ulong)offset);
        BinaryPrimitives.WriteUInt32BigEndian(target[24..], (uint)length);
    }

    private (NbdRead Read, ulong Cookie) Take()
    {
        if (!_free.TryPop(out var read))
        {
            read = new NbdRead(_reads.Count, Free);
            _reads.Add(read);
        }

        UnderWay++;
        return (read, (++_serial << SlotBits) | (uint)read.Slot);
    }

    private void Free(NbdRead read)
    {
        UnderWay--;
        _free.Push(read);
        freed();
    }

    private NbdRead? Find(ulong cookie) =>
        (int)(cookie & ((1 << SlotBits) - 1)) is var slot && slot < _reads.Count && _reads[slot] is { IsUnderWay: true } read
            && read.Cookie == cookie ? read : null;

    private string? TakeSimple(ReadOnlySpan<byte> input, out int taken)
    {
        taken = 0;
        if (input.Length < SimpleBytes)
            return null;
        taken = SimpleBytes;
        var error = BinaryPrimitives.ReadUInt32BigEndian(input[4..]);
        var cookie = BinaryPrimitives.ReadUInt64BigEndian(input[8..]);
        if (Find(cookie) is not { } read)
            return $"it replies to a request that is not under way, cookie 0x{cookie:x}";
        if (error != NbdErrors.Success)
        {
            read.End(loop, ResultOf(error, "", read));
            return null;
        }

        if (read.Question is not null)
            return "it answers a question for the block status with a simple reply";

        if (read.Claim((ulong)read.Offset, (ulong)read.Buffer.Length) is { } wrong)
            return wrong;
        Expect(read, (ulong)read.Offset, (uint)read.Buffer.Length, isLast: true);
        return null;
    }

    private string? TakeChunk(ReadOnlySpan<byte> input, out int taken)
    {
        taken = 0;
        if (input.Length < ChunkBytes)
            return null;
        var flags = (ReplyFlags)BinaryPrimitives.ReadUInt16BigEndian(input[4..]);
        var type = (ReplyType)BinaryPrimitives.ReadUInt16BigEndian(input[6..]);
        var cookie = BinaryPrimitives.ReadUInt64BigEndian(input[8..]);
        var length = BinaryPrimitives.ReadUInt32BigEndian(input[16..]);
        if (Find(cookie) is not { } read)
            return $"it replies to a request that is not under way, cookie 0x{cookie:x}";
        var isLast = (flags & ReplyFlags.Done) != 0;
        return ((ushort)type & 0x8000) != 0 ? TakeError(input, read, type, length, isLast, out taken) : type switch
        {
            ReplyType.None when length == 0 && isLast => TakeNone(read, out taken),
            ReplyType.BlockStatus when read.Question is not null => TakeStatus(read, length, isLast, out taken),
            ReplyType.OffsetData when read.Question is null && length > sizeof(ulong) => TakeData(input, read, length, isLast, out taken),
            ReplyType.OffsetHole when read.Question is null && length == 12 => TakeHole(input, read, isLast, out taken),
            _ => $"its reply to a {NameOf(read)} has a chunk of type {(ushort)type} with {length} bytes",
        };
    }

    private string? TakeNone(NbdRead read, out int taken)
    {
        taken = ChunkBytes;
        (_current, _isLast) = (read, true);
        return EndChunk();
    }

    private string? TakeData(ReadOnlySpan<byte> input, NbdRead read, uint length, bool isLast, out int taken)
    {
        taken = 0;
        if (input.Length < ChunkBytes + sizeof(ulong))
            return null;
        taken = ChunkBytes + sizeof(ulong);
        var offset = BinaryPrimitives.ReadUInt64BigEndian(input[ChunkBytes..]);
        length -= sizeof(ulong);
        if (read.Claim(offset, length) is { } wrong)
            return wrong;
        Expect(read, offset, length, isLast);
        return null;
    }

    private string? TakeHole(ReadOnlySpan<byte> input, NbdRead read, bool isLast, out int taken)
    {
        taken = 0;
        if (input.Length < ChunkBytes + 12)
            return null;
        taken = ChunkBytes + 12;
        var offset = BinaryPrimitives.ReadUInt64BigEndian(input[ChunkBytes..]);
        var length = BinaryPrimitives.ReadUInt32BigEndian(input[(ChunkBytes + sizeof(ulong))..]);
        if (read.Claim(offset, length) is { } wrong)
            return wrong;
        read.At(offset, length).Clear();
        (_current, _isLast) = (read, isLast);
        return EndChunk();
    }

    /// <summary>Also an error of a type that is not known: bit 15 says that it is one.</summary>
    private string? TakeError(ReadOnlySpan<byte> input, NbdRead read, ReplyType type, uint length, bool isLast, out int taken)
    {
        taken = 0;
        if (length is < 6 or > MostErrorBytes)
            return $"its reply has an error of type 0x{(ushort)type:x} with {length} bytes";
        if (input.Length < ChunkBytes + length)
            return null;
        taken = ChunkBytes + (int)length;
        var data = input[ChunkBytes..taken];
        var error = BinaryPrimitives.ReadUInt32BigEndian(data);
        var textBytes = BinaryPrimitives.ReadUInt16BigEndian(data[4..]);
        if (error == NbdErrors.Success || textBytes > data.Length - 6)
            return $"its reply has the error {error} with a text of {textBytes} bytes in {length}";
        read.Error ??= ResultOf(error, NbdText.Printable(Encoding.UTF8.GetString(data.Slice(6, textBytes))), read);
        (_current, _isLast) = (read, isLast);
        return EndChunk();
    }

    private void Expect(NbdRead read, ulong offset, uint length, bool isLast)
    {
        (_current, _isLast) = (read, isLast);
        Payload = read.At(offset, length);
    }

    private string? EndChunk()
    {
        var read = _current!;
        _current = null;
        if (AnswerStatus(read) is { } wrong)
            return wrong;
        if (!_isLast)
            return null;
        if (read.Error is null && !read.IsWhole)
        {
            return read.Question is not null ? $"its reply has no block status of {read.Offset}"
                : $"its reply ended before all {read.Buffer.Length} bytes at {read.Offset} had come";
        }

        read.End(loop, read.Error ?? FetchResult.Done);
        return null;
    }

    private static FetchResult ResultOf(uint error, string text, NbdRead read)
    {
        var said = text.Length == 0 ? "" : $": {text}";
        var what = read.Question is null ? "read" : "say what is allocated";
        return new FetchResult(error == NbdErrors.PermissionDenied ? FetchStatus.Denied : FetchStatus.Unavailable,
            $"the server cannot {what} at {read.Offset}: {NameOf(error)}{said}");
    }

    private static string NameOf(uint error) => error switch
    {
        NbdErrors.PermissionDenied => "not permitted",
        NbdErrors.InputOutput => "input/output error",
        NbdErrors.NoMemory => "it has no memory",
        NbdErrors.Invalid => "it takes the request for invalid",
        NbdErrors.NotSupported => "not supported",
        NbdErrors.Shutdown => "it shuts down",
        _ => $"error {error}",
    };
}
