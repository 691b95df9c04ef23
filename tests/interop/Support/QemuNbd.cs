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
        var socket = folder.File($"q{Guid.NewGuid():N}"[..8]);
        uri = $"nbd+unix:///?socket={socket}";
        List<string> arguments = ["-f", "qcow2", "-k", socket, "-e", "8", "-t", .. options, image];
        var server = folder.Own(Run.Start(null, "qemu-nbd", [.. arguments]));
        Deadline.Until(() => Listens(socket) || server.HasExited, "qemu-nbd serves");
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
