using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net.Sockets;
using Qcow2Blk.Exports.NbdSocket;
using Qcow2Blk.Interop;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Exports.NbdSocket;

/// <summary>Socket paths that several servers want: a dead one gives way, a living one never loses its name.</summary>
public sealed class SocketFileTests : IDisposable
{
    private readonly TempDirectory _folder = new();
    private readonly List<Socket> _open = [];
    private readonly string _path;

    public SocketFileTests() => _path = _folder.File("s");

    public void Dispose()
    {
        _open.ForEach(socket => socket.Dispose());
        _folder.Dispose();
    }

    private static readonly Action s_noPause = () => { };

    private Socket New()
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        _open.Add(socket);
        return socket;
    }

    /// <summary>A server between its bind and its listen.</summary>
    private Socket Bound()
    {
        var socket = New();
        socket.Bind(new UnixDomainSocketEndPoint(_path));
        return socket;
    }

    private Socket Listening()
    {
        var socket = Bound();
        socket.Listen(64);
        return socket;
    }

    /// <summary>The file that a killed server leaves.</summary>
    private EntryIdentity Dead()
    {
        Assert.Equal(0, Close(UnixSocket.Serve(_path, 1)));
        return EntryIdentity.Of(_path)!.Value;
    }

    private static int Close(int fd) => fd < 0 ? fd : Unistd.Close(fd);

    private void AssertReachable() => New().Connect(new UnixDomainSocketEndPoint(_path));

    [Fact]
    public void Free_name_is_taken_and_its_file_known()
    {
        var listener = SocketFile.Serve(_path, 8, out var bound, s_noPause);
        Assert.True(listener >= 0);
        Assert.Equal(EntryIdentity.Of(_path), bound);
        AssertReachable();
        Assert.True(SocketFile.Remove(_path, bound!.Value));
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
        Close(listener);
    }

    [Fact]
    public void Dead_socket_gives_way()
    {
        var dead = Dead();
        var listener = SocketFile.Serve(_path, 8, out var bound, s_noPause);
        Assert.True(listener >= 0);
        Assert.NotEqual(dead, bound);
        AssertReachable();
        Assert.Single(Directory.GetFileSystemEntries(_folder.Path));
        Close(listener);
    }

    [Fact]
    public void Living_socket_is_in_use()
    {
        Listening();
        Assert.Equal(-Errno.EADDRINUSE, SocketFile.Serve(_path, 8, out var bound, s_noPause));
        Assert.Null(bound);
        AssertReachable();
    }

    [Fact]
    public void Living_socket_that_accepts_nobody_is_in_use_and_not_waited_for()
    {
        Bound().Listen(0);
        for (var connection = 0; connection >= 0;)
            connection = UnixSocket.Connect(_path, wait: false); // Left open: they are in its queue.
        Assert.Equal(-Errno.EADDRINUSE, SocketFile.Serve(_path, 8, out _, s_noPause));
    }

    [Fact]
    public void Server_that_has_bound_its_socket_and_not_listened_yet_keeps_its_name()
    {
        var starting = Bound();
        var its = EntryIdentity.Of(_path);
        Assert.Equal(-Errno.EADDRINUSE, SocketFile.Serve(_path, 8, out _, () => starting.Listen(64)));
        Assert.Equal(its, EntryIdentity.Of(_path));
        AssertReachable();
    }

    [Fact]
    public void Server_that_takes_a_dead_ones_name_before_us_keeps_it()
    {
        Dead();
        Assert.Equal(-Errno.EADDRINUSE, SocketFile.Serve(_path, 8, out _, () =>
        {
            if (_open.Count > 0)
                return;
            File.Delete(_path);
            Listening();
        }));
        AssertReachable();
    }

    [Fact]
    public void Name_that_becomes_free_meanwhile_is_taken()
    {
        Listening();
        var listener = SocketFile.Serve(_path, 8, out _, () => File.Delete(_path));
        Assert.True(listener >= 0);
        Close(listener);
    }

    [Fact]
    public void Plain_file_is_neither_removed_nor_waited_for()
    {
        File.WriteAllText(_path, "precious");
        Assert.Equal(-Errno.EADDRINUSE, SocketFile.Serve(_path, 8, out _, () => throw new InvalidOperationException("waited")));
        Assert.Equal("precious", File.ReadAllText(_path));
        SocketFile.RemoveDead(_path, null);
        Assert.Equal("precious", File.ReadAllText(_path));
    }

    [Fact]
    public void Name_that_another_server_has_by_now_is_left_to_it()
    {
        var first = SocketFile.Serve(_path, 8, out var bound, s_noPause);
        File.Delete(_path);
        Listening();
        Assert.False(SocketFile.Remove(_path, bound!.Value));
        AssertReachable();
        Close(first);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Socket_of_a_dead_server_is_removed(bool identityIsKnown)
    {
        var dead = Dead();
        SocketFile.RemoveDead(_path, identityIsKnown ? dead.ToString() : null);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public void Dead_socket_that_is_not_that_servers_is_left()
    {
        Dead();
        SocketFile.RemoveDead(_path, EntryIdentity.Of(_folder.Path).ToString());
        Assert.True(SocketFile.IsSocket(_path));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Living_socket_is_not_removed_as_a_dead_servers(bool hasItsInode)
    {
        Listening();
        SocketFile.RemoveDead(_path, hasItsInode ? EntryIdentity.Of(_path).ToString() : null);
        AssertReachable();
    }
}
