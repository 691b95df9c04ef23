using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>An attached image whose server uses the kernel's ring ("on"), or the threads that stand in where it is forbidden
/// ("off").</summary>
internal sealed class RingServer : IDisposable
{
    private const string Variable = "QCOW2BLK_IO_URING";

    private readonly Folder _folder;
    private readonly int _pid;

    private RingServer(Folder folder, string socket, JsonElement attached)
    {
        _folder = folder;
        Socket = socket;
        Uri = attached.GetProperty("uri").GetString()!;
        Name = attached.GetProperty("name").GetString()!;
        _pid = attached.GetProperty("pid").GetInt32();
    }

    public string Socket { get; }

    public string Uri { get; }

    public string Name { get; }

    private bool IsAlive => Directory.Exists($"/proc/{_pid}");

    /// <summary>Attaches on a unix socket in the folder; skips the test if the kernel's ring is asked for and forbidden here.</summary>
    public static RingServer Attach(Folder folder, string ring, string image, params string[] options)
    {
        var socket = folder.File($"{Guid.NewGuid():N}"[..8]);
        var environment = Command.Environment(folder);
        environment[Variable] = ring;
        var attached = Run.Start(environment, Command.Path, [.. new[] { "attach", image, "--socket", socket, "--json" }, .. options])
            .Wait().Passed();
        var server = folder.Own(new RingServer(folder, socket, JsonDocument.Parse(attached.Output).RootElement));
        var real = server.Status().GetProperty("kernel").GetProperty("io-uring").GetBoolean();
        Assert.SkipWhen(ring == "on" && !real, "io_uring is forbidden here");
        Assert.Equal(ring == "on", real);
        return server;
    }

    public Outcome Suspend(params string[] options) => _folder.Qcow2Blk([.. new[] { "suspend", Name }, .. options]);

    public Outcome Resume() => _folder.Qcow2Blk("resume", Name);

    public JsonElement Status() => JsonDocument.Parse(_folder.Qcow2Blk("status", Name, "--json").Passed().Output).RootElement;

    public void Detach()
    {
        Assert.Equal("", _folder.Qcow2Blk("detach", Name).Passed().Errors);
        Deadline.Until(() => !IsAlive, "the server's process ends");
    }

    public void Dispose()
    {
        if (!IsAlive)
            return;
        using var process = Process.GetProcessById(_pid);
        process.Kill();
        process.WaitForExit(10_000);
    }
}
