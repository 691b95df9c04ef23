using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Encrypted images, from the key on the command line to what qemu reads afterwards.</summary>
public sealed class EncryptionTests
{
    private const string Passphrase = "a secret that no file has";
    private const string Luks = "encrypt.format=luks,encrypt.iter-time=10";

    [Theory]
    [InlineData(Luks, false)]
    [InlineData($"{Luks},cluster_size=512", false)]
    [InlineData($"{Luks},cluster_size=2M,encrypt.cipher-alg=aes-128", false)]
    [InlineData($"{Luks},extended_l2=on,encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256", false)]
    [InlineData($"{Luks},compat=0.10", false)]
    [InlineData($"{Luks},cluster_size=64k", true)]
    [InlineData($"{Luks},cluster_size=64k,extended_l2=on", true)]
    public void Random_requests_leave_what_qemu_reads_and_finds_sound(string options, bool isOverlay)
    {
        using var folder = new Folder();
        var key = KeyFile(folder, "key", Passphrase);
        List<string> keys = ["--key-file", key];
        var image = folder.File("disk.qcow2");
        if (isOverlay)
        {
            // Below is an encrypted image with a key of its own, which qemu-img takes by its name only.
            var other = KeyFile(folder, "other", "another secret");
            Create(folder.File("base.qcow2"), other, Luks, "4M");
            QemuIo(folder.File("base.qcow2"), other, "write -P 5 0 3M");
            keys.AddRange(["--key-file", other]);
            Create(image, key, options, "-u", "-b", "base.qcow2", "-F", "qcow2", "5M");
        }
        else
        {
            Create(image, key, options, "5M");
            QemuIo(image, key, "write -P 5 0 3M");
        }

        var server = Server.Attach(folder, image, [.. keys]);
        var model = server.Copy("model.raw");
        Client.Python3("model_writes.py", server.Uri, model, "7", "12");
        server.Suspend().Passed();
        server.Resume().Passed();
        Client.Python3("model_writes.py", server.Uri, model, "8", "6");
        server.Detach();

        if (isOverlay)
        {
            var again = Server.Attach(folder, image, [.. keys, "--read-only"]);
            Assert.Equal(Folder.Hash(model), Folder.Hash(again.Copy("again.raw")));
            again.Detach();
            return;
        }

        Run.QemuImg(["compare", .. Opened(image, key), $"driver=raw,file.filename={model}"]);
        Run.QemuImg(["check", .. Opened(image, key)]);
    }

    [Fact]
    public void Legacy_encryption_is_read_and_nothing_else()
    {
        using var folder = new Folder();
        var key = KeyFile(folder, "key", "sixteen bytes and more");
        var image = folder.File("disk.qcow2");
        Create(image, key, "encrypt.format=aes", "4M");
        QemuIo(image, key, "write -P 9 1M 100k", "write -P 8 0 3k");
        string[] attach = ["attach", image, "--key-file", key, "--socket", folder.File("s")];
        Refused(folder, "images with legacy AES encryption can only be read", attach);
        var server = Server.Attach(folder, image, "--key-file", key, "--read-only");
        var copy = server.Copy("copy.raw");
        server.Detach();
        Run.QemuImg(["compare", .. Opened(image, key), $"driver=raw,file.filename={copy}"]);
    }

    [Fact]
    public void Without_the_key_there_is_no_disk_and_nothing_is_told_of_it()
    {
        using var folder = new Folder();
        var key = KeyFile(folder, "key", Passphrase);
        var image = folder.File("disk.qcow2");
        Create(image, key, Luks, "1M");
        var before = Folder.Hash(image);
        string[] attach = ["attach", image, "--socket", folder.File("s")];
        Refused(folder, "the image is encrypted, and no key was given for it", attach);
        var wrong = KeyFile(folder, "wrong", Passphrase + "\n");
        var refused = Refused(folder, "the key given unlocks no key slot of the image", [.. attach, "--key-file", wrong]);
        Assert.DoesNotContain(Passphrase, refused, StringComparison.Ordinal);
        Refused(folder, "none of the 2 keys given unlocks", [.. attach, "--key-file", wrong, "--key-file", image]);
        Assert.Equal(before, Folder.Hash(image));
    }

    /// <summary>The command has the descriptor, the server does not: what it got is all that there is.</summary>
    [Fact]
    public void Key_of_a_descriptor_is_held_by_the_server_and_by_nothing_that_others_see()
    {
        using var folder = new Folder();
        var key = KeyFile(folder, "key", Passphrase);
        var image = folder.File("disk.qcow2");
        Create(image, key, Luks, "1M");
        QemuIo(image, key, "write -P 6 0 1M");
        var socket = folder.File("s");
        var attach = $"exec 7<'{key}'; rm '{key}'; exec '{Command.Path}' attach '{image}' --socket '{socket}' --key-fd 7";
        Run.Start(Command.Environment(folder), "/bin/sh", "-c", attach).Wait().Passed();
        var status = folder.Qcow2Blk("status", "disk", "--json").Passed().Output;
        folder.Qcow2Blk("suspend", "disk").Passed();
        folder.Qcow2Blk("resume", "disk").Passed();
        Run.Program("qemu-io", "-f", "raw", "-r", "-c", "read -P 6 0 1M", $"nbd+unix:///?socket={socket}").Passed();

        var pid = JsonDocument.Parse(status).RootElement.GetProperty("pid").GetInt32();
        var seen = new StringBuilder(status).Append(folder.Qcow2Blk("list").Output);
        foreach (var file in (string[])["cmdline", "environ"])
            seen.Append(File.ReadAllText($"/proc/{pid}/{file}"));
        var files = Directory.EnumerateFiles(folder.RuntimeDirectory, "*", SearchOption.AllDirectories)
            .Where(file => Path.GetExtension(file) != ".sock");
        foreach (var file in files)
            seen.Append(File.ReadAllText(file));
        Assert.Contains("key-held", seen.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain(Passphrase, seen.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain(new DirectoryInfo($"/proc/{pid}/fd").EnumerateFileSystemInfos(), link =>
            link.LinkTarget?.Contains("qcow2blk-key", StringComparison.Ordinal) == true);
        folder.Qcow2Blk("detach", "disk").Passed();
    }

    [Fact]
    public void Info_tells_how_it_is_encrypted_as_qemu_does()
    {
        using var folder = new Folder();
        var key = KeyFile(folder, "key", Passphrase);
        var image = folder.File("disk.qcow2");
        Create(image, key, $"{Luks},encrypt.cipher-mode=cbc,encrypt.ivgen-alg=essiv,encrypt.ivgen-hash-alg=sha256", "1M");
        var ours = Parse(folder.Qcow2Blk("info", image, "--json").Passed()).GetProperty("encrypt");
        var theirs = Parse(Run.QemuImg("info", "--output=json", image)).GetProperty("format-specific").GetProperty("data")
            .GetProperty("encrypt");
        Assert.Equal(Texts(theirs), Texts(ours));
        Assert.Equal(
            theirs.GetProperty("slots").EnumerateArray().Select(Texts), ours.GetProperty("slots").EnumerateArray().Select(Texts));
    }

    private static JsonElement Parse(Outcome outcome) => JsonDocument.Parse(outcome.Output).RootElement;

    /// <summary>The members in one order; lists count by their length here.</summary>
    private static string[] Texts(JsonElement element) => [.. element.EnumerateObject().Select(member => member.Value.ValueKind
        == JsonValueKind.Array ? $"{member.Name}: {member.Value.GetArrayLength()}" : $"{member.Name}: {member.Value}").Order()];

    private static string KeyFile(Folder folder, string name, string key)
    {
        var path = folder.File(name);
        File.WriteAllText(path, key);
        return path;
    }

    /// <summary>qemu-img measures processor time, and sometimes gives up if it was too fast.</summary>
    private static void Create(string image, string key, string options, params string[] rest)
    {
        string[] arguments =
            ["create", "-q", "-f", "qcow2", "--object", $"secret,id=s,file={key}", "-o", $"encrypt.key-secret=s,{options}"];
        var at = rest.Length - 1;
        string[] all = [.. arguments, .. rest[..at], image, rest[at]];
        var outcome = Run.Program("qemu-img", all);
        for (var tries = 1; outcome.Errors.Contains("accurate CPU usage", StringComparison.Ordinal) && tries < 20; tries++)
            outcome = Run.Program("qemu-img", all);
        outcome.Passed();
    }

    private static void QemuIo(string image, string key, params string[] commands) =>
        Run.Program("qemu-io", [.. Opened(image, key), .. commands.SelectMany(command => (string[])["-c", command])]).Passed();

    private static string[] Opened(string image, string key) =>
        ["--object", $"secret,id=s,file={key}", "--image-opts", $"driver=qcow2,file.filename={image},encrypt.key-secret=s"];

    private static string Refused(Folder folder, string why, params string[] command)
    {
        var outcome = folder.Qcow2Blk(command);
        Assert.NotEqual(0, outcome.Status);
        Assert.Contains(why, outcome.Errors, StringComparison.Ordinal);
        return outcome.Errors;
    }
}
