using System;
using System.IO;
using System.Linq;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>
/// <c>qcow2-dm</c> in the words of the script that it takes the place of: written from a description of that, not from what ours prints.
/// The life of a device is in tests/kernel; here is what comes before it.
/// </summary>
public sealed class DmScriptTests : IDisposable
{
    private readonly Folder _folder = new();
    private readonly string _program;

    public DmScriptTests()
    {
        _program = _folder.File("qcow2-dm");
        File.CreateSymbolicLink(_program, Command.Path);
    }

    public void Dispose() => _folder.Dispose();

    private Outcome Dm(params string[] arguments) => Run.Start(Command.Environment(_folder), _program, arguments).Wait();

    /// <summary>As far as this machine can: where it has block devices, the device is removed again.</summary>
    private Outcome Create(string file)
    {
        var outcome = Dm("create", file, "vm1");
        if (outcome.Status == 0)
            Dm("remove", file).Passed();
        return outcome;
    }

    private static void HasLines(Outcome outcome, params string[] wanted)
    {
        var rest = outcome.Output.Split('\n').AsEnumerable();
        foreach (var line in wanted)
        {
            rest = rest.SkipWhile(printed => printed != line);
            Assert.True(rest.Any(), $"no line \"{line}\", in that order, in:\n{outcome.Output}{outcome.Errors}");
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("destroy")]
    [InlineData("--help")]
    public void No_word_that_it_knows_shows_the_usage_on_standard_output_and_ends_with_1(string words)
    {
        var outcome = Dm(words.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal((1, ""), (outcome.Status, outcome.Errors));
        Assert.StartsWith("Usage:\n", outcome.Output);
        Assert.All((string[])["create", "remove", "check", "snapshot", "resize"], word => Assert.Contains($" {word} ", outcome.Output));
    }

    [Theory]
    [InlineData("create disk.qcow2")]
    [InlineData("create disk.qcow2 vm1 more")]
    [InlineData("remove")]
    [InlineData("remove disk.qcow2 vm1")]
    [InlineData("check")]
    [InlineData("snapshot")]
    [InlineData("resize disk.qcow2")]
    public void Wrong_number_of_words_is_said_on_standard_error_and_the_usage_on_standard_output(string words)
    {
        var outcome = Dm(words.Split(' '));
        Assert.Equal((1, "Wrong number of arguments.\n"), (outcome.Status, outcome.Errors));
        Assert.StartsWith("Usage:\n", outcome.Output);
    }

    [Theory]
    [InlineData("Can't find device with [{0}] top image.\n", "remove", "{0}")]
    [InlineData("Can't find device by [{0}].\n", "check", "{0}")]
    [InlineData("Can't find device by [{0}].\n", "snapshot", "-c", "one", "{0}")]
    [InlineData("Can't find device by [{0}].\n", "resize", "{0}", "+1G")]
    public void Image_without_a_device_is_named_as_it_was_given(string message, params string[] words)
    {
        var image = _folder.Image("disk.qcow2", "1M");
        var outcome = Dm([.. words.Select(word => word.Replace("{0}", image, StringComparison.Ordinal))]);
        Assert.Equal((1, message.Replace("{0}", image, StringComparison.Ordinal), ""), (outcome.Status, outcome.Errors, outcome.Output));
    }

    [Fact]
    public void What_resume_says_of_a_new_size_is_said_of_a_resize()
    {
        var image = _folder.Image("disk.qcow2", "1M");
        var server = Server.Attach(_folder, image);
        var outcome = Dm("resize", image, "+1M");
        server.Detach();
        outcome.Passed();
        Assert.Contains("the disk has 2097152 bytes now (was 1048576)", outcome.Errors);
    }

    [Fact]
    public void File_that_is_not_there_does_not_exist()
    {
        var outcome = Dm("create", "nowhere.qcow2", "vm1");
        Assert.Equal((1, "nowhere.qcow2 does not exist.\n"), (outcome.Status, outcome.Output));
    }

    [Fact]
    public void Image_with_errors_gets_no_device()
    {
        var image = _folder.Image("disk.qcow2", "1M");
        Run.QemuIo(image, "write -P 1 0 64k");
        // The refcount of the cluster is lost: bytes 48 to 55 of the header say where the table is, and the first block is behind it.
        using (var file = File.OpenWrite(image))
        {
            file.Position = 2 << 16;
            file.Write(new byte[64]);
        }

        var outcome = Create(image);
        Assert.Equal(1, outcome.Status);
        Assert.DoesNotContain("disk_sz=", outcome.Output);
    }

    [Fact]
    public void Leaked_clusters_alone_are_not_errors_as_in_production_though_not_in_the_script()
    {
        var image = _folder.Image("disk.qcow2", "1M");
        Run.QemuIo(image, "write -P 1 0 64k");
        using (var file = File.OpenWrite(image))
        {
            // The first L2 entry: the table is the cluster before the data's.
            file.Position = 4 << 16;
            file.Write(new byte[8]);
        }

        Assert.Equal(3, Run.Program("qemu-img", "check", image).Status);
        var outcome = Create(image);
        HasLines(outcome, "disk_sz=1048576", $"Create device [vm1] of size 1048576 from [{image}].");
        Assert.Contains("leaked clusters", outcome.Errors);
    }

    [Fact]
    public void Chain_of_twelve_with_blanks_and_relative_names_is_listed_from_the_top_wherever_it_is_called()
    {
        _ = _folder.Sub("a chain");
        string? below = null;
        for (var i = 1; i <= 12; i++)
        {
            var name = $"image {i}.qcow2";
            var path = _folder.File($"a chain/{name}");
            Run.QemuImg([
                "create", "-q", "-f", "qcow2", .. below is null ? [] : (string[])["-b", below, "-F", "qcow2", "-u"], path, "2M"]);
            below = name;
        }

        var chain = string.Join(' ', Enumerable.Range(1, 12).Reverse().Select(i => _folder.File($"a chain/image {i}.qcow2")));
        HasLines(Create(_folder.File("a chain/image 12.qcow2")), "No errors were found on the image.", "disk_sz=2097152",
            $"Create device [vm1] of size 2097152 from [{chain}].");
    }

    /// <summary>The script waited for its lock forever.</summary>
    [Fact]
    [Trait("Speed", "slow")]
    public void Image_of_another_program_is_waited_for_but_not_for_long()
    {
        var image = _folder.Image("disk.qcow2", "1M");
        using var holder = Run.Start(null, "qemu-io", "-c", "sleep 80000", image);
        ImageLock.WaitUntilTaken(image);
        var started = Environment.TickCount64;
        var outcome = Create(image);
        Assert.InRange(Environment.TickCount64 - started, 9_000, 60_000);
        Assert.Equal(1, outcome.Status);
        Assert.Contains("in use by qemu-io", outcome.Errors);
    }
}
