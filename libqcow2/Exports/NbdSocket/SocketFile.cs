using System;
using System.Threading;
using Qcow2Blk.Interop;
using Qcow2Blk.Storage;
using Tmds.Linux;

namespace Qcow2Blk.Exports.NbdSocket;

/// <summary>The name of a listening unix socket, in a directory where other servers may want the same name.</summary>
internal static class SocketFile
{
    // A killed server's socket lives on for a moment, while the kernel takes its ring apart.
    private const int DyingAttempts = 25;
    private const int DyingPauseMilliseconds = 20;

    /// <summary>Listens on a path; only the owner may connect. The socket that a dead server left there gives way.</summary>
    /// <param name="path">its name</param>
    /// <param name="backlog">connections that wait to be accepted</param>
    /// <param name="bound">the file that the socket was bound to, for <see cref="Remove"/>; null if it has gone again already</param>
    /// <param name="pause">waits a moment before another look; tests have other moments</param>
    /// <returns>the socket, or a negative errno; -EADDRINUSE if something is there that is not a dead socket</returns>
    /// <remarks>
    /// Bound to the very name, not to another one that is renamed: /proc/net/unix shows the name that was bound, and
    /// systemd-tmpfiles takes away sockets in /tmp whose names it does not find there.
    /// </remarks>
    internal static int Serve(string path, int backlog, out EntryIdentity? bound, Action? pause = null)
    {
        pause ??= Pause;
        EntryIdentity? dead = null;
        var listener = UnixSocket.Serve(path, backlog);
        for (var attempt = 0; listener == -Errno.EADDRINUSE && attempt < DyingAttempts && !IsOther(path); attempt++)
        {
            if (attempt > 0)
                pause();
            // Twice the same: a server that starts has bound its socket and listens a moment later. The window that remains is
            // one that stops for that long in between, and finds itself without a name.
            var found = IdentifyDead(path);
            if (found is { } file && found == dead)
                Remove(path, file);
            dead = found;
            listener = UnixSocket.Serve(path, backlog);
        }
        // The socket itself cannot be asked for its file. Somebody who removed the name since, and took it, would be taken
        // for us: nobody takes that of a socket where somebody listens.
        bound = listener < 0 ? null : EntryIdentity.Of(path);
        return listener;
    }

    /// <summary>Removes the name of a socket if it still is that socket's. To be called while it listens: then nobody takes the name for
    /// free.</summary>
    internal static bool Remove(string path, EntryIdentity bound) => OwnName.Remove(path, name => EntryIdentity.Of(name) == bound);

    /// <summary>Removes what a dead server left, unless the name is somebody else's by now.</summary>
    /// <param name="path">where it listened</param>
    /// <param name="identity">of its socket; null if that is not known, then any socket goes that nobody listens to</param>
    internal static void RemoveDead(string path, string? identity)
    {
        for (var attempt = 0; attempt < DyingAttempts && IsSocket(path); attempt++)
        {
            if (identity is not null && EntryIdentity.Of(path)?.ToString() != identity)
                return;
            // Not by its identity alone: the socket of a server that has just been killed takes connections for a moment.
            if (IdentifyDead(path) is { } dead)
            {
                Remove(path, dead);
                return;
            }

            if (identity is null)
                return; // Somebody listens, and it need not be the one who died.
            Pause();
        }
    }

    /// <summary>The socket of this name, if nobody listens to it: one who does would let us connect, or would be too busy to.</summary>
    /// <returns>null if it is something else, or cannot be told</returns>
    internal static EntryIdentity? IdentifyDead(string path)
    {
        // Connecting to a plain file is refused too; it may be somebody's disk.
        if (Stat.OfPath(path, out var before, follow: false) != 0 || !before.IsSocket)
            return null;
        var connection = UnixSocket.Connect(path, wait: false);
        if (connection >= 0)
            _ = Unistd.Close(connection);
        var found = EntryIdentity.Of(before);
        return connection == -Errno.ECONNREFUSED && EntryIdentity.Of(path) == found ? found : null;
    }

    /// <summary>Whether something is there that is no socket: it is never removed.</summary>
    internal static bool IsOther(string path) => Stat.OfPath(path, out var found, follow: false) == 0 && !found.IsSocket;

    internal static bool IsSocket(string path) => Stat.OfPath(path, out var found, follow: false) == 0 && found.IsSocket;

    private static void Pause() => Thread.Sleep(DyingPauseMilliseconds);
}
