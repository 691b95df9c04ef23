using System;
using System.IO;
using System.Text.Json;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Cli;

/// <summary>The command <c>check</c>: statuses, JSON and words, beside <c>qemu-img check</c>.</summary>
public sealed class CheckVerbTests : IDisposable
{
    private const int RefcountTableAt = 48;
    private readonly TempDirectory _directory = new();
    private readonly string _image;

    public CheckVerbTests()
    {
        _image = _directory.File("disk.qcow2");
        Qemu.Img("create", "-f", "qcow2", _image, "64M");
        Qemu.Io(_image, "write -P 1 0 300k", "write -P 2 20M 1k");
    }

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(false, false, 0)]
    [InlineData(true, false, 3)]
    [InlineData(false, true, 2)]
    public void Json_and_status_are_those_of_qemu(bool leaks, bool isCorrupt, int expected)
    {
        Damage(leaks, isCorrupt);

        var (theirs, qemu, _) = Qemu.Run("qemu-img", "check", "--output=json", "-f", "qcow2", _image);
        var (status, output, errors) = Command.Run("check", "--json", _image);

        Assert.Equal((expected, expected), (theirs, status));
        Assert.True(JsonElement.DeepEquals(JsonDocument.Parse(qemu).RootElement, JsonDocument.Parse(output).RootElement), output + qemu);
        Assert.Equal(leaks || isCorrupt, errors.Contains("cluster 0x", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("leaks", true, false, 0, "repaired: 0 errors, 1 leaked clusters\nno errors\n")]
    [InlineData("all", true, true, 0, "repaired: 1 errors, 1 leaked clusters\nno errors\n")]
    [InlineData("leaks", false, true, 1, "")]
    public void Repair_does_what_it_may(string kind, bool leaks, bool isCorrupt, int expected, string words)
    {
        Damage(leaks, isCorrupt);
        var before = File.ReadAllBytes(_image);

        var (status, output, errors) = Command.Run("check", "--repair", kind, _image);

        Assert.Equal(expected, status);
        Assert.StartsWith(words, output, StringComparison.Ordinal);
        if (expected == 0)
            Assert.Equal(Verdict.Clean, Qemu.Check(_image, out _));
        else
            Assert.Equal(before, File.ReadAllBytes(_image));
        Assert.Equal(expected != 0, errors.Contains("--repair all", StringComparison.Ordinal));
    }

    [Fact]
    public void Image_in_use_is_refused_with_its_holder_and_only_looked_at_by_force()
    {
        using var lockHolder = System.Diagnostics.Process.Start(new System.Diagnostics.ProcessStartInfo(
            "qemu-io", ["-f", "qcow2", _image])
        { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        try
        {
            lockHolder.StandardInput.WriteLine("write -P 3 1M 1k");
            lockHolder.StandardInput.Flush();
            lockHolder.StandardOutput.ReadLine();

            var (status, output, errors) = Command.Run("check", _image);
            var (repair, _, _) = Command.Run("check", "--repair", "all", _image);
            var (forced, _, _) = Command.Run("check", "--force-share", _image);

            Assert.Equal((1, ""), (status, output));
            Assert.Contains("qemu-io", errors, StringComparison.Ordinal);
            Assert.Equal(1, repair);
            Assert.InRange(forced, 0, 3);
            Assert.NotEqual(1, forced);
        }
        finally
        {
            lockHolder.StandardInput.Close();
            lockHolder.WaitForExit();
        }
    }

    [Fact]
    public void Status_2_is_never_that_of_a_bad_command_line()
    {
        Assert.Equal(1, Command.Run("check").Status);
        Assert.Equal(1, Command.Run("check", "--repair", "some", _image).Status);
        Assert.Equal(1, Command.Run("check", "--repair", "all", "--force-share", _image).Status);
        Assert.Equal(1, Command.Run("check", _directory.File("missing.qcow2")).Status);
    }

    [Fact]
    public void File_of_another_format_has_nothing_to_check()
    {
        var raw = _directory.File("disk.raw");
        File.WriteAllBytes(raw, new byte[1 << 20]);

        var (status, _, errors) = Command.Run("check", raw);

        Assert.Equal(63, status);
        Assert.Contains("not a qcow2 image", errors, StringComparison.Ordinal);
    }

    [Fact]
    public void Repair_leaves_an_image_alone_whose_server_died()
    {
        Damage(leaks: true, isCorrupt: false);
        Patch(88, [0x5A]); // the mark of a server with a recovery log

        var (status, _, errors) = Command.Run("check", "--repair", "all", _image);

        Assert.Equal(1, status);
        Assert.Contains("recovery log", errors, StringComparison.Ordinal);
        Assert.Equal(3, Command.Run("check", _image).Status);
    }

    /// <summary>Raises the refcount of a cluster that nothing uses, takes away that of one in use.</summary>
    private void Damage(bool leaks, bool isCorrupt)
    {
        var bytes = File.ReadAllBytes(_image);
        var table = System.Buffers.Binary.BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan(RefcountTableAt));
        var block = System.Buffers.Binary.BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan((int)table));
        if (leaks)
        {
            const int unused = 20;
            Patch(block + unused * 2, [0, 1]);
            Patch((unused + 1) * 65536L - 1, [0]);
        }

        if (isCorrupt)
            Patch(block + 6 * 2, [0, 0]);
    }

    private void Patch(long offset, byte[] bytes)
    {
        using var file = File.OpenHandle(_image, FileMode.Open, FileAccess.ReadWrite);
        RandomAccess.Write(file, bytes, offset);
    }
}
