using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>An attached image: a background server of the native binary, from attach to detach.</summary>
internal sealed class Server : IDisposable
{
    private readonly Folder _folder;
    private bool _ended;

    private Server(Folder folder, string socket, Outcome attached)
    {
        _folder = folder;
        Socket = socket;
        Warnings = attached.Errors;
        var answer = JsonDocument.Parse(attached.Output).RootElement;
        Uri = answer.GetProperty("uri").GetString()!;
        Name = answer.GetProperty("name").GetString()!;
        Pid = answer.GetProperty("pid").GetInt32();
    }

    public string Uri { get; }

    public string Socket { get; }

    public string Name { get; }

    public int Pid { get; }

    /// <summary>What attach said on standard error.</summary>
    public string Warnings { get; }

    public bool IsAlive => File.Exists($"/proc/{Pid}/stat") && (State != 'Z' || HasOtherThreads);

    /// <summary>Resident memory in KiB.</summary>
    public long ResidentKiB =>
        long.Parse(File.ReadLines($"/proc/{Pid}/status").First(line => line.StartsWith("VmRSS:", StringComparison.Ordinal))
        .Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]);

    /// <summary>The first thread may be a zombie while others end: what they have open, locks too, is still held.</summary>
    private bool HasOtherThreads
    {
        get
        {
            try
            {
                return Directory.GetDirectories($"/proc/{Pid}/task").Length > 1;
            }
            catch (IOException)
            {
                return false;
            }
        }
    }

    private char State
    {
        get
        {
            try
            {
                var text = File.ReadAllText($"/proc/{Pid}/stat");
                return text[text.LastIndexOf(')') + 2];
            }
            catch (IOException)
            {
                return 'Z';
            }
        }
    }

    /// <summary>Attaches on a unix socket beside the image; fails the test if that is refused.</summary>
    public static Server Attach(Folder folder, string image, params string[] options)
    {
        var socket = folder.File($"{Guid.NewGuid():N}"[..8]);
        var attached = folder.Qcow2Blk([.. new[] { "attach", image, "--socket", socket, "--json" }, .. options]).Passed();
        return folder.Own(new Server(folder, socket, attached));
    }

    public Outcome Suspend(params string[] options) => _folder.Qcow2Blk([.. new[] { "suspend", Name }, .. options]);

    public Outcome Resume(params string[] options) => _folder.Qcow2Blk([.. new[] { "resume", Name }, .. options]);

    /// <summary>Detaches; fails the test unless that is done, without a word, and nothing is left.</summary>
    public void Detach()
    {
        var detached = _folder.Qcow2Blk("detach", Name).Passed();
        Assert.Equal("", detached.Errors);
        Deadline.Until(() => !IsAlive, "the server's process ends");
        Assert.False(File.Exists(Socket));
        _ended = true;
    }

    public JsonElement Status() => JsonDocument.Parse(_folder.Qcow2Blk("status", Name, "--json").Passed().Output).RootElement;

    public string ReadState() => Status().GetProperty("state").GetString()!;

    /// <summary>What nbdcopy reads of the whole disk.</summary>
    public string Copy(string name)
    {
        var path = _folder.File(name);
        Run.Program("nbdcopy", "--no-extents", Uri, path).Passed();
        return path;
    }

    /// <summary>Kills the server as a crash would: nothing is flushed or closed.</summary>
    public void Kill()
    {
        using (var process = Process.GetProcessById(Pid))
            process.Kill();
        AwaitEnd();
    }

    /// <summary>Somebody else has killed it.</summary>
    public void AwaitEnd()
    {
        _ended = true;
        Deadline.Until(() => !IsAlive, "the killed server is gone");
    }

    /// <summary>Files that the server's process has open.</summary>
    public IEnumerable<string> OpenFiles() =>
        Directory.EnumerateFileSystemEntries($"/proc/{Pid}/fd").Select(link => new FileInfo(link).LinkTarget ?? "");

    public void Dispose()
    {
        if (!_ended && IsAlive)
            Kill();
    }
}
