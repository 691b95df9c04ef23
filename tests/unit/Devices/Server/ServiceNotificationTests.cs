using System;
using System.IO;
using System.Net.Sockets;
using System.Text;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>The test is the service manager: a datagram socket, as systemd has it.</summary>
public sealed class ServiceNotificationTests : IDisposable
{
    private readonly TempDirectory _folder = new();

    public void Dispose()
    {
        Environment.SetEnvironmentVariable("NOTIFY_SOCKET", null);
        _folder.Dispose();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Service_manager_hears_once_that_the_disk_is_ready(bool isAbstract)
    {
        var path = isAbstract ? $"@qcow2blk-test-{Guid.NewGuid():n}" : _folder.File("notify");
        using var manager = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        manager.Bind(new UnixDomainSocketEndPoint(isAbstract ? $"\0{path[1..]}" : path));
        manager.ReceiveTimeout = 10_000;
        Environment.SetEnvironmentVariable("NOTIFY_SOCKET", path);
        ServiceNotification.Ready("serving /a\nREADY=0 as /dev/nbd0", new NoLog());
        ServiceNotification.Ready("again", new NoLog());
        var message = new byte[1000];
        var length = manager.Receive(message);
        Assert.Equal("READY=1\nSTATUS=serving /a READY=0 as /dev/nbd0\n", Encoding.UTF8.GetString(message, 0, length));
        Assert.Equal(0, manager.Available);
        Assert.Null(Environment.GetEnvironmentVariable("NOTIFY_SOCKET"));
    }

    [Fact]
    public void Manager_that_is_gone_is_only_worth_a_warning()
    {
        Environment.SetEnvironmentVariable("NOTIFY_SOCKET", _folder.File("nobody"));
        var log = new ListLog();
        ServiceNotification.Ready("ready", log);
        Assert.Contains("nobody", Assert.Single(log.Lines), StringComparison.Ordinal);
    }
}
