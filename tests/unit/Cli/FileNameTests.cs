using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Cli;

/// <summary>Files of every name that a file can have: opened under that very name, or refused with it.</summary>
public sealed class FileNameTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    public static TheoryData<string> Names() =>
    [
        "@vm.qcow2", "-x.qcow2", "--help", "%s%n.qcow2", "a b.qcow2", " a.qcow2 ", "line\nbreak.qcow2", "tab\t.qcow2",
        "it's \"quoted\".qcow2",
        "$(touch x).qcow2", "größe.qcow2", "\U0001F4BE.qcow2", "\uFFFD.qcow2", "\u001b[31m.qcow2", "[suggest]", "*.qcow2", "back\\slash",
        new string('n', 255),
    ];

    [Theory]
    [MemberData(nameof(Names))]
    public void File_is_opened_and_told_under_its_own_name(string name)
    {
        var image = _directory.File(name);
        Qemu.Img("create", "-q", "-f", "qcow2", image, "1M");
        var (status, output, errors) = Command.Run("info", "--json", "--", image);
        Assert.True(status == 0, errors);
        Assert.Equal(image, JsonDocument.Parse(output).RootElement.GetProperty("filename").GetString());
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Device_of_the_file_is_found_by_it(string name)
    {
        string image = _directory.File(name), run = _directory.File("run");
        Qemu.Img("create", "-q", "-f", "qcow2", image, "1M");
        var attached = Command.RunIn(run, "attach", "--socket", _directory.File("s"), "--name", "d", "--", image);
        Assert.True(attached.Status == 0, attached.Errors);
        var listed = Command.RunIn(run, "list", "--json");
        var shown = Command.RunIn(run, "list");
        var detached = Command.RunIn(run, "detach", "--", image);
        Assert.True(detached.Status == 0, detached.Errors);
        Assert.Equal(image, JsonDocument.Parse(listed.Output).RootElement[0].GetProperty("image").GetString());
        Assert.DoesNotContain(shown.Output.Replace("\n", "", StringComparison.Ordinal), char.IsControl);
        Assert.Equal(2, shown.Output.Count(c => c == '\n'));
    }

    [Theory]
    [InlineData("attach")]
    [InlineData("info")]
    [InlineData("map")]
    [InlineData("detach")]
    [InlineData("status")]
    [InlineData("suspend")]
    [InlineData("resume")]
    [InlineData("upgrade")]
    public void Word_that_begins_with_an_at_sign_is_never_read_as_a_file_of_arguments(string verb)
    {
        File.WriteAllText(_directory.File("evil.qcow2"), "--help\n");
        var (status, output, errors) =
            Shell($"cd '{_directory.File(".")}' && QCOW2BLK_RUNTIME_DIR=$PWD/run '{Command.Path}' {verb} @evil.qcow2");
        Assert.NotEqual(0, status);
        Assert.Empty(output);
        Assert.Contains("@evil.qcow2", errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("info $'b\\xe9se.qcow2'")]
    [InlineData("attach x.qcow2 --socket $'b\\xe9se.qcow2'")]
    [InlineData("detach $'b\\xe9se.qcow2'")]
    public void Name_that_is_not_utf8_is_refused_with_its_bytes(string words)
    {
        var (status, output, errors) = Shell($"cd '{_directory.File(".")}' && '{Command.Path}' {words}");
        Assert.Equal((2, ""), (status, output));
        Assert.Contains("\"b\\xe9se.qcow2\" is not valid UTF-8", errors, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFileSystemEntries(_directory.File(".")));
    }

    [Theory]
    [InlineData("info")]
    [InlineData("map")]
    [InlineData("attach --socket s")]
    public void Backing_name_that_is_not_utf8_is_refused_with_its_bytes(string words)
    {
        var (status, _, errors) =
            Shell($"cd '{_directory.File(".")}' && qemu-img create -q -u -f qcow2 -b $'b\\xe9se.qcow2' -F qcow2 ov.qcow2 1M &&"
                + $" QCOW2BLK_RUNTIME_DIR=$PWD/run '{Command.Path}' {words} ov.qcow2");
        Assert.Equal(1, status);
        Assert.Contains("\"b\\xe9se.qcow2\" is not valid UTF-8", errors, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("\"--sokcet\" is not recognized; did you mean --socket?", "attach", "x", "--sokcet", "/s")]
    [InlineData("\"atach\" is not recognized; did you mean attach?", "atach", "x")]
    [InlineData("\"--forec\" is not recognized; did you mean --force?", "detach", "x", "--forec")]
    [InlineData("did you mean writeback?", "attach", "x", "--socket", "/s", "--cache", "wirteback")]
    [InlineData("\"--zzzzzz\" is not recognized (see", "attach", "x", "--zzzzzz")]
    [InlineData("\"frobnicate\" is not recognized (see", "frobnicate")]
    public void Typing_mistake_gets_a_suggestion_where_one_is_near(string why, params string[] arguments)
    {
        var (status, _, errors) = Command.Run(arguments);
        Assert.Equal(2, status);
        Assert.Contains(why, errors, StringComparison.Ordinal);
    }

    private static (int Status, string Output, string Errors) Shell(string script)
    {
        var start = new ProcessStartInfo("bash", ["-c", script]) { RedirectStandardError = true, RedirectStandardOutput = true };
        start.Environment["QCOW2BLK_RUNTIME_DIR"] = "/nonexistent/qcow2blk";
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, errors.Result);
    }
}
