using System;
using System.Collections.Generic;
using System.IO;

namespace Qcow2Blk.Tests.Interop;

/// <summary>qemu-nbd serving an image: the peer that we are compared with.</summary>
internal static class QemuNbd
{
    public static Running Serve(Folder folder, string image, params string[] options) => Serve(folder, image, out _, options);

    public static Running Serve(Folder folder, string image, out string uri, params string[] options)
    {
        string socket = folder.File($"q{Guid.NewGuid():N}"[..8]);
        uri = $"nbd+unix:///?socket={socket}";
        List<string> arguments = ["-f", "qcow2", "-k", socket, "-e", "8", "-t", .. options, image];
        Running server = folder.Own(Run.Start(null, "qemu-nbd", [.. arguments]));
        Deadline.Until(() => File.Exists(socket) || server.HasExited, "qemu-nbd serves");
        return server;
    }
}
