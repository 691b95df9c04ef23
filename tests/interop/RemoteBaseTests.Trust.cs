using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.RegularExpressions;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Who is shown what, and what is left after a power cut.</summary>
public sealed partial class RemoteBaseTests
{
    [Fact]
    public void Credentials_do_not_go_to_a_server_that_an_image_names()
    {
        var lower = new byte[1 << 20];
        lower.AsSpan().Fill(7);
        using var other = new HostileServer(request => HostileReply.Honest(request, lower));
        Run.QemuImg("create", "-q", "-u", "-f", "qcow2", "-b", other.Url("lower.raw"), "-F", "raw", _folder.File("base.qcow2"), "1M");
        var image = File.ReadAllBytes(_folder.File("base.qcow2"));
        using var store = new HostileServer(request => HostileReply.Honest(request, image));
        var (file, count) = (_folder.File("credentials"), _folder.File("count"));
        File.WriteAllText(file, "Authorization: Bearer s3cret\n");
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        Run.QemuImg("create", "-q", "-u", "-f", "qcow2", "-b", "away.qcow2", "-F", "qcow2", _folder.File("overlay.qcow2"), "1M");
        foreach (var options in (string[][])[["--credentials", file],
            ["--credential-command", $"echo \"$1\" >> {count}; echo 'Authorization: Bearer s3cret'"]])
        {
            var server = Attach("overlay.qcow2", [.. options, "--base", store.Url(), "--allow-remote-backing", "--cache-dir", "none"]);
            Run.QemuIoAs("raw", server.Uri, "read -P 7 0 1M");
            server.Detach();
        }

        Assert.All(store.Requests, request => Assert.Equal("Bearer s3cret", request["Authorization"]));
        Assert.NotEmpty(other.Requests);
        Assert.All(other.Requests, request => Assert.Null(request["Authorization"]));
        Assert.Equal([store.Url()], File.ReadAllLines(count));
    }

    [Fact]
    public void Root_pins_the_base_also_if_the_image_names_it()
    {
        var path = Random("www/base.raw", 1 << 20);
        var root = _folder.Qcow2Blk("manifest", path).Passed().Output.Split(' ', '\n')[0];
        _folder.Qcow2Blk("create", _folder.File("overlay.qcow2"), "--backing", _web.Url("base.raw"), "--backing-format", "raw").Passed();
        _folder.Qcow2Blk("attach", _folder.File("overlay.qcow2"), "--allow-remote-backing", "--sha256", new string('0', 64),
            "--socket", _folder.File("s"), "--cache-dir", _cache).Refused(1, "root hash");
        var server = Attach("overlay.qcow2", "--allow-remote-backing", "--sha256", root);
        Assert.Equal(Folder.Hash(path), Folder.Hash(server.Copy("copy")));
        server.Detach();
    }

    [Fact]
    public void What_takes_the_place_of_a_file_is_on_the_disk_before()
    {
        Assert.SkipUnless(File.Exists("/usr/bin/strace") && Run.Program("strace", "-f", "-o", "/dev/null", "true").Status == 0,
            "no strace");
        var path = Random("www/base.raw", 1 << 20);
        var root = _folder.Qcow2Blk("manifest", path).Passed().Output.Split(' ', '\n')[0];
        var (calls, socket) = (_folder.File("calls"), _folder.File("s"));
        using var server = Run.Start(Command.Environment(_folder), "strace", "-f", "-qq", "-y", "-o", calls, "-e",
            "trace=write,pwrite64,fsync,fdatasync,rename,renameat,renameat2", Command.Path, "attach", Overlay("base.raw", "raw"), "--base",
            _web.Url("base.raw"), "--sha256", root, "--cache-dir", _cache, "--socket", socket, "--foreground", "--name", "disk");
        server.WaitForLine("nbd+unix:");
        _folder.Qcow2Blk("detach", "disk").Passed();
        server.Wait().Passed();

        var replaced = Replaced(File.ReadLines(calls)).ToList();
        foreach (var name in (string[])["meta.json", $"manifests/{root}.qcm", "disk.json"])
            Assert.Contains(replaced, file => file.Name.EndsWith("/" + name, StringComparison.Ordinal));
        Assert.All(replaced, file => Assert.True(file.IsSynced, $"{file.Name} was in place before its bytes were on the disk"));
    }

    /// <summary>Goes through calls as strace shows them, with the paths of descriptors.</summary>
    /// <returns>names that a file was given, and whether its bytes were on the disk by then</returns>
    private static IEnumerable<(string Name, bool IsSynced)> Replaced(IEnumerable<string> calls)
    {
        var unsynced = new HashSet<string>();
        foreach (var call in calls)
        {
            if (WriteCall().Match(call) is { Success: true } write)
                unsynced.Add(write.Groups[1].Value);
            else if (SyncCall().Match(call) is { Success: true } sync)
                unsynced.Remove(sync.Groups[1].Value);
            else if (RenameCall().Match(call) is { Success: true } rename)
                yield return (NameIn(rename, 3), !unsynced.Contains(NameIn(rename, 1)));
        }

        static string NameIn(Match call, int first) => Path.Combine(call.Groups[first].Value, call.Groups[first + 1].Value);
    }

    [GeneratedRegex(@"\bp?write(?:64)?\(\d+<([^>]+)>")]
    private static partial Regex WriteCall();

    [GeneratedRegex(@"\bf(?:data)?sync\(\d+<([^>]+)>")]
    private static partial Regex SyncCall();

    [GeneratedRegex("""\brename(?:at2?)?\((?:(?:AT_FDCWD|\d+)<([^>]+)>, )?"([^"]+)", (?:(?:AT_FDCWD|\d+)<([^>]+)>, )?"([^"]+)".*= 0$""")]
    private static partial Regex RenameCall();
}
