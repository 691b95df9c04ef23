using System;
using System.Buffers.Binary;
using System.IO;
using System.Net.Sockets;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Exports.Nbd;

namespace Qcow2Blk.Tests.Exports;

/// <summary>A client that sends what it is told to, whole or not, and takes simple replies (extended ones, if asked for).</summary>
internal sealed class NbdClient : IDisposable
{
    public const int Read = 0, Write = 1, Flush = 3, Trim = 4, Cache = 5, WriteZeroes = 6, BlockStatus = 7;
    public const int ForceUnitAccess = 1, FastZero = 16;

    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly bool _extended;
    private ulong _cookie;

    public NbdClient(string socket, bool extended)
    {
        _extended = extended;
        _socket.ReceiveTimeout = _socket.SendTimeout = (int)ServedScene.Patience.TotalMilliseconds;
        _socket.Connect(new UnixDomainSocketEndPoint(socket));
        Take(18);
        Send(Wire.FixedNewstyleNoZeroes);
        if (extended)
        {
            Send(Wire.ExtendedHeaders());
            Take(20);
            Send(Wire.SetContexts("", "base:allocation"));
            Take(20 + 4 + "base:allocation".Length + 20);
        }

        Send(Wire.ExportName(""));
        Take(10);
    }

    public Socket Socket => _socket;

    /// <summary>Whether the server has taken from the socket all that was sent.</summary>
    public bool IsReceived => Sockets.Unreceived((int)_socket.SafeHandle.DangerousGetHandle()) == 0;

    /// <summary>Sends a request and waits for its reply.</summary>
    /// <returns>the error of the reply</returns>
    public uint Do(int command, ulong offset, ulong length, int flags = 0, byte[]? payload = null)
    {
        Begin(command, offset, length, flags, payload);
        return Reply(command == Read ? (int)length : 0);
    }

    /// <summary>Sends a request, or as much of it as there is payload.</summary>
    public void Begin(int command, ulong offset, ulong length, int flags = 0, byte[]? payload = null)
    {
        Send(_extended
            ? Wire.ExtendedRequest(command == Write ? flags | 32 : flags, command, ++_cookie, offset, length)
            : Wire.Request(flags, command, ++_cookie, offset, (uint)length));
        if (payload is not null)
            Send(payload);
    }

    /// <returns>the error of the next reply; the data of a read is dropped</returns>
    public uint Reply(int data = 0)
    {
        if (!_extended)
        {
            var head = Take(16);
            var error = BinaryPrimitives.ReadUInt32BigEndian(head.AsSpan(4));
            Take(error == 0 ? data : 0);
            return error;
        }

        var chunk = Take(32);
        var payload = Take((int)BinaryPrimitives.ReadUInt64BigEndian(chunk.AsSpan(24)));
        var isError = (BinaryPrimitives.ReadUInt16BigEndian(chunk.AsSpan(6)) & 0x8000) != 0;
        return isError ? BinaryPrimitives.ReadUInt32BigEndian(payload) : 0;
    }

    /// <returns>how many extents the reply to a block status request of one context describes</returns>
    public int Extents()
    {
        var chunk = Take(32);
        var payload = Take((int)BinaryPrimitives.ReadUInt64BigEndian(chunk.AsSpan(24)));
        return (payload.Length - 8) / 16;
    }

    public void Send(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
            bytes = bytes[_socket.Send(bytes)..];
    }

    public byte[] Take(int count)
    {
        var bytes = new byte[count];
        for (var taken = 0; taken < count;)
        {
            var more = _socket.Receive(bytes, taken, count - taken, SocketFlags.None);
            taken += more > 0 ? more : throw new EndOfStreamException($"closed after {taken} of {count} bytes");
        }

        return bytes;
    }

    public void Dispose() => _socket.Dispose();
}
