using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Net.Sockets;
using System.Text;
using System.Threading;
using Microsoft.Win32.SafeHandles;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Support;
using Xunit;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Devices.Server;

/// <summary>What a server leaves open for the next one goes over the control socket, and is closed on our side.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
public sealed class HandOverDescriptorsTests : IDisposable
{
    private readonly TempDirectory _folder = new();
    private readonly RuntimeDirectory _runtime;

    public HandOverDescriptorsTests() => _runtime = RuntimeDirectory.At(_folder.File("run"));

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Client_gets_open_descriptors_with_the_answer()
    {
        int first = FileOf("first"), second = FileOf("second");
        using var server = Start(first, second);
        using var client = ControlClient.TryConnect(_runtime, "disk")!;
        Assert.True(client.Ask(new ControlRequest(ControlVerb.HandOver, TimeSpan.FromSeconds(7), false, false)).Result.Succeeded);
        var taken = client.TakeDescriptors();
        Assert.Equal(2, taken.Count);
        Assert.Equal("first", ContentOf(taken[0]));
        Assert.Equal("second", ContentOf(taken[1]));
        Assert.Empty(client.TakeDescriptors());
    }

    [Fact]
    public void Server_keeps_none_of_them()
    {
        var path = _folder.File("marked");
        File.WriteAllText(path, "x");
        var fd = Fcntl.Open(path, O_RDONLY | O_CLOEXEC, 0);
        using var server = Start(fd);
        using (var client = ControlClient.TryConnect(_runtime, "disk")!)
            client.Ask(new ControlRequest(ControlVerb.HandOver, TimeSpan.FromSeconds(7), false, false));
        // A moment after its answer.
        Assert.True(
            SpinWait.SpinUntil(() => !Directory.GetFileSystemEntries("/proc/self/fd").Any(link => new FileInfo(link).LinkTarget == path),
                TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public void Other_programs_receive_them_as_unix_7_says()
    {
        var fd = FileOf("to another program");
        using var server = Start(fd);
        var program = "import socket,os,sys\n"
            + "s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(b'{\"verb\":\"hand-over\"}\\n')\n"
            + "data,fds,flags,_=socket.recv_fds(s,65536,8)\n"
            + "print(len(fds), flags & socket.MSG_CTRUNC, os.pread(fds[0],100,0).decode(), data.decode().strip())";
        using var python = Process.Start(
            new ProcessStartInfo("/usr/bin/python3", ["-c", program, _runtime.SocketOf("disk")]) { RedirectStandardOutput = true })!;
        var said = python.StandardOutput.ReadToEnd();
        python.WaitForExit();
        Assert.StartsWith("1 0 to another program {\"ok\":true", said, StringComparison.Ordinal);
    }

    [Fact]
    public void Server_notices_that_nobody_heard_of_the_hand_over()
    {
        using var asked = new ManualResetEventSlim();
        using var gone = new ManualResetEventSlim();
        var device = new FakeDevice("disk", "/data/disk.qcow2")
        {
            OnHandOver = () =>
            {
                asked.Set();
                gone.Wait();
            },
        };
        var server = DeviceServer.Start(new AttachOptions { Image = device.ImagePath, SocketPath = "/run/x.sock" },
            new FakeFactory((_, _) => device),
            new DeviceRegistry(_runtime), new NoLog());
        using (var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            client.Connect(new UnixDomainSocketEndPoint(_runtime.SocketOf("disk")));
            client.Send("{\"verb\":\"hand-over\"}\n"u8);
            asked.Wait(TestContext.Current.CancellationToken);
        }

        gone.Set();
        server.WaitForEnd();
        server.Finish();
        server.Dispose();
        Assert.True(server.HandedOver);
        Assert.True(server.HandOverUnheard);
    }

    private DeviceServer Start(params int[] descriptors)
    {
        var device = new FakeDevice("disk", "/data/disk.qcow2") { RefuseHandOver = Outcome.Done() with { Descriptors = descriptors } };
        return DeviceServer.Start(new AttachOptions { Image = device.ImagePath, SocketPath = "/run/x.sock" },
            new FakeFactory((_, _) => device),
            new DeviceRegistry(_runtime), new NoLog());
    }

    private static int FileOf(string text)
    {
        var fd = Memory.CreateFile("test");
        Assert.Equal(0, Unistd.WriteAll(fd, Encoding.UTF8.GetBytes(text)));
        return fd;
    }

    private static string ContentOf(int fd)
    {
        using var handle = new SafeFileHandle(fd, ownsHandle: true);
        var bytes = new byte[100];
        return Encoding.UTF8.GetString(bytes, 0, RandomAccess.Read(handle, bytes, 0));
    }
}
