using System;
using System.Net;
using System.Net.Sockets;
using System.Threading;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices;

/// <summary>The listening socket of a device: made here, or handed over by a service manager.</summary>
internal sealed class NbdListener : IDisposable
{
    private const int Backlog = 128;
    private const int DyingAttempts = 25;
    private const int DyingPauseMilliseconds = 20;

    private readonly Socket? _tcp;
    private readonly string? _unixPath;

    private NbdListener(int descriptor, string? uri, Socket? tcp, string? unixPath)
    {
        Descriptor = descriptor;
        Uri = uri;
        _tcp = tcp;
        _unixPath = unixPath;
    }

    public int Descriptor { get; }

    /// <summary>How clients reach it; null if only the service manager knows.</summary>
    public string? Uri { get; }

    /// <exception cref="DeviceException">the address is in use or cannot be had</exception>
    public static NbdListener Open(AttachOptions options)
    {
        if (options.ListenFd is { } descriptor)
            return new NbdListener(descriptor, null, null, null);
        return options.SocketPath is { } path ? OpenUnix(options, path) : OpenTcp(options);
    }

    /// <summary>Clients cannot connect any more; the path is removed.</summary>
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
            UnixSocket.Shutdown(Descriptor, UnixSocket.SHUT_RDWR);
            _ = Unistd.Unlink(_unixPath);
        }

        Files.Close(Descriptor);
    }

    private static NbdListener OpenUnix(AttachOptions options, string path)
    {
        var descriptor = UnixSocket.Serve(path, Backlog);
        for (var attempt = 0; descriptor == -Errno.EADDRINUSE && attempt < DyingAttempts; attempt++)
        {
            // A killed server's socket lives on for a moment, while the kernel takes its ring apart.
            if (attempt > 0)
                Thread.Sleep(DyingPauseMilliseconds);
            if (!IsDeadSocket(path))
                continue;
            _ = Unistd.Unlink(path);
            descriptor = UnixSocket.Serve(path, Backlog);
        }

        if (descriptor >= 0)
            return new NbdListener(descriptor, NbdUri.ForUnixSocket(path), null, path);
        var what = $"cannot attach {options.Image}";
        if (descriptor == -Errno.EADDRINUSE && !IsSocket(path))
            throw new DeviceException(ExitStatus.Failed, what, $"{path} exists and is no socket", "choose another --socket");
        throw descriptor == -Errno.EADDRINUSE
            ? new DeviceException(ExitStatus.Busy, what, $"socket {path} is in use", "choose another --socket, or detach what serves there")
            : new DeviceException(ExitStatus.Failed, what, $"cannot listen on {path}: {Errno.Text(descriptor)}");
    }

    /// <summary>Whether a server that died has left its socket: somebody who listens would let us connect.</summary>
    private static bool IsDeadSocket(string path)
    {
        const int ECONNREFUSED = 111;
        if (!IsSocket(path))
            return false; // Connecting to a plain file is refused too; it may be somebody's disk.
        var connection = UnixSocket.Connect(path);
        if (connection >= 0)
            Files.Close(connection);
        return connection == -ECONNREFUSED;
    }

    private static bool IsSocket(string path) =>
        Stat.OfPath(path, out var found, follow: false) == 0 && found.Kind == Stat.S_IFSOCK;

    private static NbdListener OpenTcp(AttachOptions options)
    {
        var what = $"cannot attach {options.Image}";
        try
        {
            var address = Resolve(options.ListenHost!);
            var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
                socket.Bind(new IPEndPoint(address, options.ListenPort));
                socket.Listen(Backlog);
                var port = ((IPEndPoint)socket.LocalEndPoint!).Port;
                return new NbdListener((int)socket.SafeHandle.DangerousGetHandle(), NbdUri.ForTcp(options.ListenHost!, port), socket, null);
            }
            catch
            {
                socket.Dispose();
                throw;
            }
        }
        catch (SocketException error)
        {
            var status = error.SocketErrorCode == SocketError.AddressAlreadyInUse ? ExitStatus.Busy : ExitStatus.Failed;
            throw new DeviceException(status, what, $"cannot listen on {options.ListenHost}:{options.ListenPort}: {Refusals.InHouseStyle(error.Message)}", null, error);
        }
    }

    private static IPAddress Resolve(string host) =>
        IPAddress.TryParse(host, out var address)
            ? address
            : Dns.GetHostAddresses(host) is [var first, ..] ? first : throw new SocketException((int)SocketError.HostNotFound);
}
