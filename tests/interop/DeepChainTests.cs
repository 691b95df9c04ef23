using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>
/// Chains as deep as they may be, in the native binary, whose stacks are those that users get. A base that is not what it
/// should be is refused by name however deep it is, and nothing is left of the server.
/// </summary>
public sealed class DeepChainTests : IDisposable
{
    private const int Largest = 256;
    private readonly Folder _folder = new();
    private readonly string _images;

    public DeepChainTests() => _images = _folder.Sub("images");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Chain_of_the_largest_depth_is_served_mapped_and_described()
    {
        var top = ManyImages.Make(_images, Largest);
        var server = Server.Attach(_folder, top);
        Assert.Equal(Largest, server.Status().GetProperty("chain").GetArrayLength());
        Run.QemuIoAs("raw", server.Uri, "read -P 9 0 64k", "read -P 0 64k 1M");
        Run.QemuIoAs("raw", server.Uri, "write -P 7 4k 4k", "write -P 8 10000 100", "write -z 32k 4k", "discard 40k 8k", "flush");
        var depth = Run.Program("nbdinfo", "--map=qemu:allocation-depth", server.Uri).Passed();
        Assert.Contains("256", depth.Output, StringComparison.Ordinal);
        server.Detach();
        Verdict.Clean(top);
        Run.QemuIo(top, "read -P 9 0 4k", "read -P 7 4k 4k", "read -P 8 10000 100", "read -P 9 10100 2188",
            "read -P 0 32k 4k", "read -P 9 48k 16k");

        Assert.Equal(Largest, Json("info", top).GetProperty("chain").GetArrayLength());
        JsonElement[] map = [.. Json("map", top).EnumerateArray()];
        Assert.Equal(Largest - 1, map.Max(extent => extent.GetProperty("depth").GetInt32()));
        Assert.Equal(ManyImages.DiskSize, map.Sum(extent => extent.GetProperty("length").GetInt64()));
    }

    [Fact]
    public void One_image_more_is_refused()
    {
        var top = ManyImages.Make(_images, Largest + 1);
        AssertRefused(1, ["attach", "info", "map"], top, "c001.qcow2", "more than 256");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(255)]
    public void Base_that_is_missing_damaged_written_by_somebody_or_leads_back(int depth)
    {
        string top = ManyImages.Make(_images, depth + 1), below = ManyImages.At(_images, 0);
        using (var writer = Run.Start(null, "qemu-io", "-f", "qcow2", below))
        {
            writer.Tell("write -P 9 0 4k");
            writer.WaitForLine("qemu-io> wrote");
            AssertRefused(4, ["attach", "map"], top, "c000.qcow2", "in use by");
        }

        Bytes.Overwrite(below, 0, [0]);
        AssertRefused(1, ["attach", "info", "map"], top, "c000.qcow2");
        ManyImages.Close(_images, depth);
        AssertRefused(1, ["attach", "info", "map"], top, $"c{depth:000}.qcow2");
        File.Delete(below);
        AssertRefused(1, ["attach", "info", "map"], top, "c000.qcow2");
    }

    private void AssertRefused(int status, string[] verbs, string top, params string[] texts)
    {
        var before = Folder.Hash(top);
        foreach (var verb in verbs)
        {
            var outcome = verb == "attach" ? _folder.Qcow2Blk(verb, top, "--socket", _folder.File("s")) : _folder.Qcow2Blk(verb, top);

            // What there is of a chain is described all the same.
            (verb == "info" ? outcome with { Output = "" } : outcome).Refused(status, texts);
            Assert.Equal("[]\n", _folder.Qcow2Blk("list", "--json").Passed().Output);
            Assert.Empty(Directory.GetFileSystemEntries(_folder.RuntimeDirectory));
        }

        Assert.Equal(before, Folder.Hash(top));
    }

    private JsonElement Json(string verb, string image) =>
        JsonDocument.Parse(_folder.Qcow2Blk(verb, image, "--json").Passed().Output).RootElement;
}
