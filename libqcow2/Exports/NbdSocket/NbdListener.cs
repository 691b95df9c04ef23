using System;
using System.Net;
using System.Net.Sockets;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Qcow2Blk.Storage;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports.NbdSocket;

/// <summary>The listening socket of a device: made here, or handed over by a service manager.</summary>
internal sealed class NbdListener : IDisposable
{
    private const int Backlog = 128;

    private readonly Socket? _tcp;
    private readonly string? _unixPath;
    private readonly EntryIdentity? _bound;

    private NbdListener(int descriptor, string? uri, Socket? tcp, string? unixPath, EntryIdentity? bound)
    {
        Descriptor = descriptor;
        Uri = uri;
        _tcp = tcp;
        _unixPath = unixPath;
        _bound = bound;
    }

    public int Descriptor { get; }

    /// <summary>How clients reach it; null if only the service manager knows.</summary>
    public string? Uri { get; }

    /// <exception cref="ExportRefusedException">the address is in use or cannot be had</exception>
    public static NbdListener Open(NbdSocketOptions options)
    {
        if (options.Descriptor is { } descriptor)
            return new NbdListener(descriptor, null, null, null, null);
        return options.UnixPath is { } path ? OpenUnix(path) : OpenTcp(options);
    }

    /// <summary>Clients cannot connect any more; the path is removed, unless another server's socket has it by now.</summary>
    public void Dispose()
    {
        if (_tcp is not null)
        {
            _tcp.Dispose();
            return;
        }

        // A socket that was handed over is the service manager's too: shut down, it would be dead for the next server.
        if (_unixPath is not null)
        {
            if (_bound is { } bound)
                SocketFile.Remove(_unixPath, bound);
            UnixSocket.Shutdown(Descriptor, SHUT_RDWR);
        }

        Files.Close(Descriptor);
    }

    private static NbdListener OpenUnix(string path)
    {
        var descriptor = SocketFile.Serve(path, Backlog, out var bound);
        if (descriptor >= 0)
            return new NbdListener(descriptor, NbdUri.ForUnixSocket(path), null, path, bound);
        if (descriptor == -Errno.EADDRINUSE && SocketFile.IsOther(path))
            throw new ExportRefusedException(ExportRefusal.Failed, $"{path} exists and is not a socket", "choose another --socket");
        throw descriptor == -Errno.EADDRINUSE
            ? new ExportRefusedException(ExportRefusal.Busy, $"socket {path} is in use",
                "choose another --socket, or detach what serves there")
            { Error = descriptor }
            : new ExportRefusedException(ExportRefusal.Failed, $"cannot listen on {path}: {Errno.Text(descriptor)}") { Error = descriptor };
    }

    private static NbdListener OpenTcp(NbdSocketOptions options)
    {
        try
        {
            var address = Resolve(options.Host!);
            var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
                socket.Bind(new IPEndPoint(address, options.Port));
                socket.Listen(Backlog);
                var port = ((IPEndPoint)socket.LocalEndPoint!).Port;
                return new NbdListener((int)socket.SafeHandle.DangerousGetHandle(), NbdUri.ForTcp(options.Host!, port), socket, null, null);
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        }
        catch (SocketException error)
        {
            var refusal = error.SocketErrorCode == SocketError.AddressAlreadyInUse ? ExportRefusal.Busy : ExportRefusal.Failed;
            throw new ExportRefusedException(refusal, $"cannot listen on {options.Host}:{options.Port}: {HouseStyle.Of(error.Message)}")
            {
                Error = error.SocketErrorCode switch
                {
                    SocketError.AddressAlreadyInUse => -Errno.EADDRINUSE,
                    SocketError.AddressNotAvailable or SocketError.HostNotFound => -Errno.EADDRNOTAVAIL,
                    SocketError.AccessDenied => -Errno.EACCES,
                    _ => 0,
                },
            };
        }
    }

    private static IPAddress Resolve(string host) =>
        IPAddress.TryParse(host, out var address)
            ? address
            : Dns.GetHostAddresses(host) is [var first, ..] ? first : throw new SocketException((int)SocketError.HostNotFound);
}
