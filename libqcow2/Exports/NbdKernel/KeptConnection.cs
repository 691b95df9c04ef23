using System;
using System.Collections.Generic;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>A connection of the kernel between two processes that serve it.</summary>
/// <param name="Socket">the server's end</param>
/// <param name="Unserved">what was received of requests that have not begun; it comes before what is still in the socket</param>
internal readonly record struct KeptConnection(int Socket, byte[] Unserved)
{
    /// <summary>Descriptors that a connection passes from process to process as: the socket, a file with the bytes.</summary>
    internal const int Descriptors = 2;

    // Requests of the kernel are far smaller, and one at most is incomplete.
    private const long MaximumUnserved = 64 << 20;

    // The first byte of the file; a file without it was taken.
    private const byte Untaken = 1;

    /// <summary>The descriptors of connections, which are the caller's from now on. One that there are none for is closed.</summary>
    internal static List<int> Pack(IReadOnlyList<KeptConnection> connections)
    {
        var descriptors = new List<int>();
        foreach (var connection in connections)
        {
            var file = Store(connection.Unserved);
            if (file < 0)
            {
                Files.Close(connection.Socket);
                continue;
            }

            descriptors.Add(connection.Socket);
            descriptors.Add(file);
        }

        return descriptors;
    }

    /// <summary>
    /// The connections that descriptors stand for; the files are closed, the sockets the caller's. Each can be taken once: whoever
    /// takes it may serve what was left and read on, and no third process could know how far. Taken again it is ended, and the
    /// kernel sends its requests anew.
    /// </summary>
    /// <exception cref="ExportRefusedException">they are not what <see cref="Pack"/> made</exception>
    internal static List<KeptConnection> Unpack(ReadOnlySpan<int> descriptors)
    {
        var connections = new List<KeptConnection>();
        for (var i = 0; i + 1 < descriptors.Length; i += Descriptors)
        {
            var unserved = Take(descriptors[i + 1]);
            Files.Close(descriptors[i + 1]);
            if (unserved is not null)
            {
                connections.Add(new KeptConnection(descriptors[i], unserved));
                continue;
            }

            Sockets.Shutdown(descriptors[i], SHUT_RDWR);
            Files.Close(descriptors[i]);
        }

        return connections;
    }

    private static unsafe int Store(byte[] bytes)
    {
        var file = Memory.CreateFile("qcow2blk-unserved");
        if (file < 0)
            return file;
        byte[] marked = [Untaken, .. bytes];
        fixed (byte* start = marked)
        {
            if (Files.Write(file, start, (nuint)marked.Length, 0) == marked.Length)
                return file;
        }

        Files.Close(file);
        return -Errno.EIO;
    }

    /// <returns>null if somebody took it before</returns>
    private static unsafe byte[]? Take(int file)
    {
        var length = Files.Seek(file, 0, SEEK_END);
        if (length == 0)
            return null;
        if (length is < 0 or > MaximumUnserved)
        {
            throw new ExportRefusedException(ExportRefusal.Failed,
                $"the previous server left {length} bytes of a connection, which is impossible");
        }

        var bytes = new byte[length];
        fixed (byte* start = bytes)
        {
            if (Files.Read(file, start, (nuint)length, 0) != length || bytes[0] != Untaken)
                throw new ExportRefusedException(ExportRefusal.Failed, "cannot read what the previous server left of a connection");
        }

        var emptied = Files.Truncate(file, 0);
        return emptied == 0
            ? bytes[1..]
            : throw new ExportRefusedException(ExportRefusal.Failed,
                $"cannot take what the previous server left of a connection: {Errno.Text(emptied)}");
    }
}
