using System;
using System.IO;
using System.Net.Sockets;
using Qcow2Blk.Exports.NbdSocket;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Exports.NbdSocket;

/// <summary>The path of an NBD socket: ours from attach to detach, and another server's if that has taken it.</summary>
public sealed class NbdListenerTests : IDisposable
{
    private readonly TempDirectory _folder = new();
    private readonly string _path;

    public NbdListenerTests() => _path = _folder.File("s");

    public void Dispose() => _folder.Dispose();

    private NbdListener Open() => NbdListener.Open(new NbdSocketOptions { UnixPath = _path });

    [Fact]
    public void End_removes_the_path()
    {
        Open().Dispose();
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public void End_leaves_a_path_that_another_server_has_by_now()
    {
        var first = Open();
        File.Delete(_path);
        using var second = Open();
        first.Dispose();
        using var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        client.Connect(new UnixDomainSocketEndPoint(_path));
    }
}
