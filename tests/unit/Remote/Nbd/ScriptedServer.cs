using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Tests.Remote.Nbd;

/// <summary>A server that does to each client in turn what a test says. The last script is for all further clients.</summary>
internal sealed class ScriptedServer : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly Action<ServerEnd>[] _scripts;
    private readonly List<Socket> _clients = [];
    private readonly Thread _thread;

    public ScriptedServer(params Action<ServerEnd>[] scripts)
    {
        _scripts = scripts;
        _listener.Start();
        _thread = new Thread(Accept) { IsBackground = true };
        _thread.Start();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>How many clients have come.</summary>
    public int Clients { get; private set; }

    public void Dispose()
    {
        _listener.Stop();
        lock (_clients)
        {
            foreach (var client in _clients)
                client.Dispose();
        }

        _thread.Join();
    }

    private void Accept()
    {
        while (true)
        {
            Socket client;
            try
            {
                client = _listener.AcceptSocket();
            }
            catch (Exception error) when (error is SocketException or ObjectDisposedException or InvalidOperationException)
            {
                return;
            }

            lock (_clients)
                _clients.Add(client);
            var script = _scripts[Math.Min(Clients++, _scripts.Length - 1)];
            new Thread(() => Serve(client, script)) { IsBackground = true }.Start();
        }
    }

    private static void Serve(Socket client, Action<ServerEnd> script)
    {
        try
        {
            script(new ServerEnd(client));
        }
        catch (Exception error) when (error is SocketException or ObjectDisposedException or EndOfClientException)
        {
            // The client went, or the test is over.
        }

        client.Dispose();
    }
}

/// <summary>The client has closed its connection.</summary>
internal sealed class EndOfClientException : Exception;

/// <summary>The server's end of a connection: pieces of the protocol, right ones and whatever bytes a test wants.</summary>
internal sealed class ServerEnd(Socket socket)
{
    public const ushort Flags = 0x0003, SeveralConnections = 0x0103;

    public readonly record struct Request(ushort Command, ulong Cookie, ulong Offset, int Length);

    /// <summary>Whether each byte goes in a packet of its own.</summary>
    public bool SendsSingly { get; set; }

    public void Send(params byte[][] pieces)
    {
        socket.NoDelay = true;
        foreach (var piece in pieces)
        {
            for (var at = 0; at < piece.Length;)
                at += socket.Send(piece, at, SendsSingly ? 1 : piece.Length - at, SocketFlags.None);
        }
    }

    /// <summary>Says no more, and waits until the client has heard it and goes.</summary>
    public void Finish()
    {
        socket.Shutdown(SocketShutdown.Send);
        Idle();
    }

    public byte[] Receive(int length)
    {
        var bytes = new byte[length];
        for (var at = 0; at < length;)
        {
            var received = socket.Receive(bytes, at, length - at, SocketFlags.None);
            if (received == 0)
                throw new EndOfClientException();
            at += received;
        }

        return bytes;
    }

    public void Greet(ushort flags = 3)
    {
        Send(U64(NbdProtocol.ServerMagic), U64(NbdProtocol.OptionMagic), U16(flags));
        Receive(4);
    }

    /// <summary>Takes an option of the client.</summary>
    public (uint Option, byte[] Data) Option()
    {
        var header = Receive(16);
        return (BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(8)),
            Receive((int)BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(12))));
    }

    public void Reply(uint option, uint type, params byte[][] data)
    {
        var all = Join(data);
        Send(U64(NbdProtocol.OptionReplyMagic), U32(option), U32(type), U32((uint)all.Length), all);
    }

    /// <summary>A whole handshake as it should be.</summary>
    public void Open(long size, ushort flags = Flags, bool structured = true, uint minBlock = 1, uint maxBlock = 32 << 20,
        string? description = null, uint? context = null)
    {
        Greet();
        Reply(Option().Option, structured ? 1u : 0x80000001);
        var option = AfterContext(context);
        Reply(option, 3, U16(0), U64((ulong)size), U16(flags));
        Reply(option, 3, U16(3), U32(minBlock), U32(4096), U32(maxBlock));
        if (description is not null)
            Reply(option, 3, U16(2), Encoding.UTF8.GetBytes(description));
        Reply(option, 1);
    }

    /// <summary>Answers a client that asks for "base:allocation": with the number of the context, or that there is none.</summary>
    /// <returns>the option that the client sends then</returns>
    public uint AfterContext(uint? context)
    {
        var (option, _) = Option();
        if (option != 10)
            return option;
        if (context is { } number)
            Reply(10, 4, U32(number), "base:allocation"u8.ToArray());
        Reply(10, context is null ? 0x80000001 : 1);
        return Option().Option;
    }

    public Request Next()
    {
        var header = Receive(28);
        var request = new Request(
            BinaryPrimitives.ReadUInt16BigEndian(header.AsSpan(6)), BinaryPrimitives.ReadUInt64BigEndian(header.AsSpan(8)),
            BinaryPrimitives.ReadUInt64BigEndian(header.AsSpan(16)), (int)BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(24)));
        return request.Command == 2 ? throw new EndOfClientException() : request;
    }

    public void Simple(ulong cookie, uint error, params byte[][] data) =>
        Send(U32(NbdProtocol.SimpleReplyMagic), U32(error), U64(cookie), Join(data));

    public void Chunk(ulong cookie, ushort flags, ushort type, params byte[][] data) => Send(Header(cookie, flags, type, Join(data)));

    public void Data(Request request, ulong offset, int length, bool done) =>
        Chunk(request.Cookie, (ushort)(done ? 1 : 0), 1, U64(offset), Pattern(offset, length));

    public void Hole(Request request, ulong offset, uint length, bool done) =>
        Chunk(request.Cookie, (ushort)(done ? 1 : 0), 2, U64(offset), U32(length));

    /// <summary>A block status: the length and flags of each extent.</summary>
    public void Status(Request request, uint context, params uint[] extents) =>
        Chunk(request.Cookie, 1, 5, U32(context), Join(Array.ConvertAll(extents, U32)));

    /// <summary>Answers everything rightly, for as long as the client asks.</summary>
    public void ServeAll(bool structured = true)
    {
        while (true)
        {
            var request = Next();
            if (structured)
                Data(request, request.Offset, request.Length, done: true);
            else
                Simple(request.Cookie, 0, Pattern(request.Offset, request.Length));
        }
    }

    /// <summary>Waits until the client goes.</summary>
    public void Idle() => Receive(int.MaxValue / 64);

    /// <summary>What the disk of these tests holds: every offset differs from its neighbours.</summary>
    public static byte[] Pattern(ulong offset, int length)
    {
        var bytes = new byte[length];
        for (var i = 0; i < length; i++)
            bytes[i] = (byte)(1 + ((offset + (ulong)i) * 2654435761 >> 7) % 251);
        return bytes;
    }

    public static byte[] Header(ulong cookie, ushort flags, ushort type, byte[] data) =>
        Join(U32(NbdProtocol.StructuredReplyMagic), U16(flags), U16(type), U64(cookie), U32((uint)data.Length), data);

    public static byte[] Join(params byte[][] pieces)
    {
        var all = new List<byte>();
        foreach (var piece in pieces)
            all.AddRange(piece);
        return [.. all];
    }

    public static byte[] U16(ushort value) => [(byte)(value >> 8), (byte)value];

    public static byte[] U32(uint value)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return bytes;
    }

    public static byte[] U64(ulong value)
    {
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, value);
        return bytes;
    }
}
