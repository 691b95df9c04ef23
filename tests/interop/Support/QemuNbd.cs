using System;
using System.Collections.Generic;
using System.Net.Sockets;

namespace Qcow2Blk.Tests.Interop;

/// <summary>qemu-nbd serving an image: the peer that we are compared with.</summary>
internal static class QemuNbd
{
    public static Running Serve(Folder folder, string image, params string[] options) => Serve(folder, image, out _, options);

    public static Running Serve(Folder folder, string image, out string uri, params string[] options)
    {
        var server = ServeOptions(folder, out var socket, ["-f", "qcow2", "-e", "8", "-t", .. options, image]);
        uri = $"nbd+unix:///?socket={socket}";
        return server;
    }

    /// <summary>Nothing is said for qemu-nbd but where it listens.</summary>
    public static Running ServeOptions(Folder folder, out string socket, string[] options)
    {
        var path = folder.File($"q{Guid.NewGuid():N}"[..8]);
        var server = folder.Own(Run.Start(null, "qemu-nbd", ["-k", path, .. options]));
        Deadline.Until(() => Listens(path) || server.HasExited, "qemu-nbd serves");
        if (server.HasExited)
            server.Wait().Passed();
        socket = path;
        return server;
    }

    /// <summary>The file is there a moment before anybody listens.</summary>
    private static bool Listens(string path)
    {
        using var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            client.Connect(new UnixDomainSocketEndPoint(path));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
