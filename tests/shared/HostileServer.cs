using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Threading;

namespace Qcow2Blk.Tests.Shared;

/// <summary>A web server on a raw socket that does whatever a test has it do, a thread for each connection.</summary>
internal sealed class HostileServer : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly ConcurrentBag<Socket> _sockets = [];
    private readonly Func<HostileRequest, HostileReply> _script;

    /// <param name="script">what is answered to a request; on the thread of its connection</param>
    public HostileServer(Func<HostileRequest, HostileReply> script)
    {
        _script = script;
        _listener.Start();
        Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
        new Thread(Accept) { IsBackground = true }.Start();
    }

    public int Port { get; }

    public ConcurrentQueue<HostileRequest> Requests { get; } = new();

    public string Url(string path = "base.raw") => string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{Port}/{path}");

    public void Dispose()
    {
        _listener.Stop();
        foreach (var socket in _sockets)
            socket.Dispose();
    }

    private void Accept()
    {
        try
        {
            while (true)
            {
                var socket = _listener.AcceptSocket();
                _sockets.Add(socket);
                new Thread(() => Serve(socket)) { IsBackground = true }.Start();
            }
        }
        catch (Exception error) when (error is SocketException or InvalidOperationException or ObjectDisposedException)
        {
            // Stopped, while it waited or before it did.
        }
    }

    private void Serve(Socket socket)
    {
        try
        {
            using var stream = new NetworkStream(socket, ownsSocket: true);
            while (HostileRequest.Read(stream) is { } request)
            {
                Requests.Enqueue(request);
                if (!_script(request).Send(stream, socket))
                    return;
            }
        }
        catch (Exception error) when (error is IOException or SocketException or ObjectDisposedException)
        {
            // The client has gone.
        }
    }
}

/// <summary>A request as it came.</summary>
internal sealed record HostileRequest(string Method, string Target, IReadOnlyList<(string Name, string Value)> Headers)
{
    public string? this[string name] => Headers.Where(header => header.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
        .Select(header => header.Value).FirstOrDefault();

    public (long Start, long End) Range => this["Range"] is { } range && range["bytes=".Length..].Split('-') is [var start, var end]
        ? (long.Parse(start, CultureInfo.InvariantCulture), long.Parse(end, CultureInfo.InvariantCulture)) : (0, long.MaxValue);

    public static HostileRequest? Read(Stream stream)
    {
        var text = new StringBuilder();
        while (!text.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
        {
            var next = stream.ReadByte();
            if (next < 0)
                return null;
            text.Append((char)next);
        }

        var lines = text.ToString().Split("\r\n", StringSplitOptions.RemoveEmptyEntries);
        var first = lines[0].Split(' ');
        return new HostileRequest(first[0], first[1],
            [.. lines.Skip(1).Select(line => line.Split(':', 2)).Select(parts => (parts[0], parts[1].Trim()))]);
    }
}

/// <summary>An answer: right, but for what a test spoils of it.</summary>
internal sealed record HostileReply(int Status)
{
    public List<(string Name, string Value)> Headers { get; init; } = [];

    public byte[] Body { get; init; } = [];

    /// <summary>Instead of the length of the body; -1 for no such header.</summary>
    public long? ContentLength { get; init; }

    /// <summary>Before the header.</summary>
    public int Wait { get; init; }

    /// <summary>After so many bytes of the body…</summary>
    public int StopAfter { get; init; } = int.MaxValue;

    /// <summary>…it waits so long, in milliseconds.</summary>
    public int Stall { get; init; }

    /// <summary>…it resets the connection.</summary>
    public bool Reset { get; init; }

    /// <summary>Bytes at a time, with a pause of 50 ms after each.</summary>
    public int Drip { get; init; }

    public bool Close { get; init; }

    /// <summary>The range that was asked for, as an honest server sends it.</summary>
    public static HostileReply Honest(HostileRequest request, byte[] content, string? tag = "\"one\"")
    {
        var (start, end) = request.Range;
        end = Math.Min(end, content.Length - 1);
        var reply = new HostileReply(206) { Body = content[(int)start..(int)(end + 1)] };
        reply.Headers.Add(("Content-Range", string.Create(CultureInfo.InvariantCulture, $"bytes {start}-{end}/{content.Length}")));
        if (tag is not null)
            reply.Headers.Add(("ETag", tag));
        return reply;
    }

    /// <summary>The same with a header replaced, or removed (null).</summary>
    public HostileReply With(string name, string? value) => this with
    {
        Headers = [.. Headers.Where(header => header.Name != name), .. value is null ? Array.Empty<(string, string)>() : [(name, value)]],
    };

    /// <returns>whether the connection goes on</returns>
    public bool Send(Stream stream, Socket socket)
    {
        Thread.Sleep(Wait);
        var header = new StringBuilder($"HTTP/1.1 {Status} Whatever\r\n");
        foreach (var (name, value) in Headers)
            header.Append(CultureInfo.InvariantCulture, $"{name}: {value}\r\n");
        if (ContentLength != -1)
            header.Append(CultureInfo.InvariantCulture, $"Content-Length: {ContentLength ?? Body.Length}\r\n");
        stream.Write(Encoding.Latin1.GetBytes(header.Append("\r\n").ToString()));
        var length = Math.Min(Body.Length, StopAfter);
        for (var sent = 0; sent < length;)
        {
            var piece = Drip == 0 ? length : Math.Min(Drip, length - sent);
            stream.Write(Body, sent, piece);
            sent += piece;
            if (Drip != 0)
                Thread.Sleep(50);
        }

        Thread.Sleep(Stall);
        if (Reset)
            socket.LingerState = new LingerOption(true, 0);
        return !Close && !Reset && ContentLength != -1 && length == Body.Length && (ContentLength ?? length) == length;
    }
}
