using System;
using System.Buffers;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net.Sockets;
using System.Threading;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Protocol;
using Xunit;

namespace Qcow2Blk.Tests.Exports.Nbd;

/// <summary>A piece of the disk that <see cref="PeerServer"/> serves.</summary>
internal readonly record struct Piece(int Start, int Length, AllocationState State, uint Depth)
{
    public int End => Start + Length;
}

/// <summary>
/// The smallest NBD server that lets other people's clients judge the handshake and the encoders: blocking sockets, one
/// thread per connection, a disk in memory that is sparse in a known way.
/// </summary>
internal sealed class PeerServer : IDisposable
{
    public const int Size = 16 << 20;

    /// <summary>Reads of this sector fail.</summary>
    public const int BadSector = 8 << 20;

    public const string BadSectorText = "sector at 0x800000 cannot be read";

    public static readonly Piece[] Pieces =
    [
        new(0, 65536, AllocationState.None, 1),
        new(65536, (1 << 20) - 65536, AllocationState.Hole | AllocationState.Zero, 0),
        new(1 << 20, 512, AllocationState.None, 2),
        new((1 << 20) + 512, (1 << 20) - 512, AllocationState.Zero, 1),
        new(2 << 20, Size - (2 << 20), AllocationState.Hole | AllocationState.Zero, 0),
    ];

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("nbd-peer-");
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly List<Thread> _threads = [];
    private readonly Catalog _catalog;
    private readonly int _receiveLimit;
    private Exception? _failure;

    /// <param name="receiveLimit">bytes taken at once during the handshake</param>
    /// <param name="exports">served from the same memory</param>
    public PeerServer(int receiveLimit, params ExportInfo[] exports)
    {
        _catalog = new Catalog(exports);
        _receiveLimit = receiveLimit;
        foreach (var piece in Pieces.Where(piece => (piece.State & AllocationState.Zero) == 0))
        {
            for (var i = piece.Start; i < piece.End; i++)
                Disk[i] = (byte)(1 + (i % 251));
        }

        SocketPath = Path.Combine(_directory.FullName, "s");
        _listener.Bind(new UnixDomainSocketEndPoint(SocketPath));
        _listener.Listen(8);
        Start(AcceptAll);
    }

    public byte[] Disk { get; } = new byte[Size];

    public string SocketPath { get; }

    /// <summary>The sessions that reached transmission, in order.</summary>
    public List<NegotiatedSession> Sessions { get; } = [];

    public void Dispose()
    {
        _listener.Dispose();
        foreach (var thread in _threads.ToArray())
            thread.Join(TimeSpan.FromSeconds(10));
        _directory.Delete(recursive: true);
        Assert.Null(_failure);
    }

    private void Start(Action run)
    {
        var thread = new Thread(() =>
        {
            try
            {
                run();
            }
            catch (Exception end) when (end is SocketException or ObjectDisposedException)
            {
                // The client or the test hung up, while we waited or before we did.
            }
            catch (Exception failure)
            {
                _failure = failure;
            }
        });
        thread.IsBackground = true;
        lock (_threads)
            _threads.Add(thread);
        thread.Start();
    }

    private void AcceptAll()
    {
        while (true)
        {
            var client = _listener.Accept();
            Start(() =>
            {
                using (client)
                    Serve(client);
            });
        }
    }

    private void Serve(Socket client)
    {
        var handshake = new Handshake(_catalog);
        var output = new ArrayBufferWriter<byte>();
        Handshake.Greeting(output);
        client.Send(output.WrittenSpan);

        var buffer = new byte[NbdProtocol.HandshakeBufferSize];
        var (filled, status) = (0, HandshakeStatus.NeedMore);
        while (status == HandshakeStatus.NeedMore)
        {
            var received = client.Receive(buffer.AsSpan(filled, Math.Min(_receiveLimit, buffer.Length - filled)));
            if (received == 0)
                return;
            filled += received;
            output.Clear();
            status = handshake.Advance(buffer.AsSpan(0, filled), out var consumed, output);
            buffer.AsSpan(consumed, filled - consumed).CopyTo(buffer);
            filled -= consumed;
            client.Send(output.WrittenSpan);
        }

        if (status == HandshakeStatus.Close)
            return;
        lock (Sessions)
            Sessions.Add(handshake.Session);
        new PeerTransmission(client, handshake.Session, Disk, buffer.AsSpan(0, filled).ToArray()).Run();
    }
}
