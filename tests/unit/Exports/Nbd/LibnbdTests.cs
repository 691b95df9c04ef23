using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Protocol;
using Xunit;

namespace Qcow2Blk.Tests.Exports.Nbd;

/// <summary>What libnbd, a client that checks its server, understands of our handshake and replies.</summary>
public sealed class LibnbdTests
{
    private const string Python = "/usr/bin/python3";

    private static readonly ExportInfo s_disk = Catalog.Disk with { Size = PeerServer.Size };

    [Theory]
    [InlineData(65536)]
    [InlineData(1)]
    public void Nbdinfo_sees_what_the_export_says(int receiveLimit)
    {
        using var server = new PeerServer(receiveLimit, s_disk);

        using var json = JsonDocument.Parse(Run("nbdinfo", "--json", $"nbd+unix:///disk?socket={server.SocketPath}"));

        Assert.Equal("newstyle-fixed", json.RootElement.GetProperty("protocol").GetString());
        Assert.True(json.RootElement.GetProperty("structured").GetBoolean());
        var export = json.RootElement.GetProperty("exports")[0];
        Assert.Equal("disk", export.GetProperty("export-name").GetString());
        Assert.Equal("a disk", export.GetProperty("description").GetString());
        Assert.Equal(PeerServer.Size, export.GetProperty("export-size").GetInt64());
        Assert.Equal(
            ["base:allocation", "qemu:allocation-depth"],
            export.GetProperty("contexts").EnumerateArray().Select(context => context.GetString()));
        Assert.Equal((1, 65536, 32 << 20), (Number("minimum"), Number("preferred"), Number("maximum")));
        string[] abilities = ["can_cache", "can_df", "can_fast_zero", "can_flush", "can_fua", "can_multi_conn", "can_trim", "can_zero"];
        Assert.All(abilities, ability => Assert.True(export.GetProperty(ability).GetBoolean(), ability));
        Assert.False(export.GetProperty("is_read_only").GetBoolean() || export.GetProperty("is_rotational").GetBoolean());

        int Number(string which) => export.GetProperty($"block_size_{which}").GetInt32();
    }

    [Fact]
    public void Nbdinfo_lists_all_exports()
    {
        using var server = new PeerServer(65536, s_disk, Catalog.Frozen);

        using var json = JsonDocument.Parse(Run("nbdinfo", "--list", "--json", $"nbd+unix:///?socket={server.SocketPath}"));

        var exports = json.RootElement.GetProperty("exports").EnumerateArray().ToList();
        Assert.Equal(["disk", "früh"], exports.Select(export => export.GetProperty("export-name").GetString()));
        Assert.Equal([false, true], exports.Select(export => export.GetProperty("is_read_only").GetBoolean()));
        Assert.Equal([true, false], exports.Select(export => export.GetProperty("can_zero").GetBoolean()));
    }

    [Fact]
    public void Nbdinfo_maps_data_and_holes()
    {
        using var server = new PeerServer(65536, s_disk);

        using var allocation = JsonDocument.Parse(Run("nbdinfo", "--map", "--json", $"nbd+unix:///disk?socket={server.SocketPath}"));
        using var depth = JsonDocument.Parse(
            Run("nbdinfo", "--map=qemu:allocation-depth", "--json", $"nbd+unix:///disk?socket={server.SocketPath}"));

        Assert.Equal(PeerServer.Pieces.Select(piece => (piece.Start, piece.Length, (uint)piece.State)), Extents(allocation));
        Assert.Equal(PeerServer.Pieces.Select(piece => (piece.Start, piece.Length, piece.Depth)), Extents(depth));

        static (int, int, uint)[] Extents(JsonDocument map) => map.RootElement.EnumerateArray().Select(extent => (
            extent.GetProperty("offset").GetInt32(), extent.GetProperty("length").GetInt32(), extent.GetProperty("type").GetUInt32()))
            .ToArray();
    }

    [Fact]
    public void Libnbd_receives_holes_as_holes_and_everything_when_it_may_not_be_split()
    {
        using var server = new PeerServer(65536, s_disk);

        var output = RunPython(server, """
            chunks = []
            def chunk(buffer, offset, status, error):
                chunks.append((offset, len(buffer), status))
            data = h.pread_structured((2 << 20), 0, chunk)
            print(sorted(chunks))
            chunks.clear()
            whole = h.pread_structured((2 << 20), 0, chunk, nbd.CMD_FLAG_DF)
            print(chunks)
            print(whole == data, hashlib.sha256(whole).hexdigest().upper())
            """);

        // 1 is LIBNBD_READ_DATA, 2 is LIBNBD_READ_HOLE.
        Assert.Equal(
            [
                "[(0, 65536, 1), (65536, 983040, 2), (1048576, 512, 1), (1049088, 1048064, 2)]",
                "[(0, 2097152, 1)]",
                $"True {Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(server.Disk.AsSpan(0, 2 << 20)))}",
            ],
            output);
    }

    [Fact]
    public void Libnbd_without_structured_replies_reads_writes_and_zeroes()
    {
        using var server = new PeerServer(65536, s_disk);

        var output = RunPython(server, """
            h.pwrite(b"hello" * 100, 4096, nbd.CMD_FLAG_FUA)
            print(h.pread(10, 4096))
            h.zero(4, 4098, nbd.CMD_FLAG_NO_HOLE)
            print(h.pread(10, 4096))
            h.trim(512, 4096)
            h.cache(4096, 0)
            h.flush()
            print(h.get_structured_replies_negotiated(), h.can_df(), h.get_size())
            """, "h.set_request_structured_replies(False)");

        Assert.Equal(["bytearray(b'hellohello')", @"bytearray(b'he\x00\x00\x00\x00ello')", "False False 16777216"], output);
        Assert.Equal(ReplyMode.Simple, server.Sessions.Single().ReplyMode);
    }

    [Fact]
    public void Libnbd_reads_block_status_of_both_contexts_and_of_one_extent()
    {
        using var server = new PeerServer(65536, s_disk);

        var output = RunPython(server, """
            def extents(context, offset, entries, error):
                print(context, offset, entries)
            h.block_status(1 << 21, 512, extents)
            h.block_status(1 << 21, 0, extents, nbd.CMD_FLAG_REQ_ONE)
            """, "h.add_meta_context('base:allocation'); h.add_meta_context('qemu:allocation-depth')");

        Assert.Equal(
            [
                "base:allocation 512 [65024, 0, 983040, 3, 512, 0, 1048064, 2, 512, 3]",
                "qemu:allocation-depth 512 [65024, 1, 983040, 0, 512, 2, 1048064, 1, 512, 0]",
                "base:allocation 0 [65536, 0]",
                "qemu:allocation-depth 0 [65536, 1]",
            ],
            output);
    }

    [Fact]
    public void Libnbd_gets_the_errors_we_send_and_the_connection_lives_on()
    {
        using var server = new PeerServer(65536, s_disk);

        var output = RunPython(server, $"""
            def attempt(f):
                try:
                    f()
                    print("done")
                except nbd.Error as e:
                    print(errno.errorcode[e.errnum])
            attempt(lambda: h.pread(512, {PeerServer.BadSector}))
            attempt(lambda: h.pread(1024, 16777216 - 512))
            attempt(lambda: h.pwrite(b"x" * 1024, 16777216 - 512))
            attempt(lambda: h.zero(1024, 16777216 - 512))
            attempt(lambda: h.trim(1024, 16777216 - 512))
            attempt(lambda: h.zero(512, 0, nbd.CMD_FLAG_FAST_ZERO))
            attempt(lambda: h.pwrite(b"x" * (33 << 20), 0))
            attempt(lambda: h.pread(0, 0))
            attempt(lambda: h.pread(512, 0))
            """, "h.set_strict_mode(0)");

        // The write of 33 MiB is drained, then refused.
        Assert.Equal(["EIO", "EINVAL", "ENOSPC", "ENOSPC", "EINVAL", "EOPNOTSUPP", "EINVAL", "done", "done"], output.Select(Canonical));

        // Python knows two names for 95.
        static string Canonical(string line) => line == "ENOTSUP" ? "EOPNOTSUPP" : line;
    }

    [Fact]
    public void Libnbd_haggles_option_by_option()
    {
        using var server = new PeerServer(65536, s_disk, Catalog.Frozen);

        var output = RunPython(server, """
            h.opt_list(lambda name, description: print(name, "|", description))
            h.set_export_name("nope")
            try:
                h.opt_info()
            except nbd.Error as e:
                print(errno.errorcode[e.errnum])
            h.set_export_name("disk")
            h.opt_info()
            print(h.get_size(), h.get_canonical_export_name(), h.get_export_description())
            h.add_meta_context("base:")
            h.add_meta_context("x-unknown:thing")
            h.opt_list_meta_context(lambda name: print(name))
            h.clear_meta_contexts()
            h.add_meta_context("base:allocation")
            h.opt_go()
            print(h.can_meta_context("base:allocation"), h.can_meta_context("qemu:allocation-depth"))
            """, "h.set_opt_mode(True); h.set_full_info(True)");

        Assert.Equal(["disk | a disk", "früh | ", "ENOENT", "16777216 disk a disk", "base:allocation", "True False"], output);
    }

    private static string[] RunPython(PeerServer server, string script, string beforeConnect = "pass")
    {
        Assert.SkipUnless(File.Exists(Python), "no python3");
        Assert.SkipUnless(Directory.GetFiles("/usr/lib/python3", "nbd.py", SearchOption.AllDirectories).Length > 0, "no python3-libnbd");
        var program = $"""
            import errno, hashlib, nbd
            h = nbd.NBD()
            h.set_handshake_flags(nbd.HANDSHAKE_FLAG_MASK)
            {beforeConnect}
            h.connect_unix("{server.SocketPath}")
            {script}
            if h.aio_is_negotiating():
                h.opt_abort()
            else:
                h.shutdown()
            """;
        return Run(Python, "-c", program).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.TrimEnd('\r')).ToArray();
    }

    private static string Run(string program, params string[] arguments)
    {
        if (program == "nbdinfo")
            Assert.SkipUnless(File.Exists("/usr/bin/nbdinfo"), "no nbdinfo (Debian: libnbd-bin)");
        using var process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = System.Text.Encoding.UTF8,
            Environment = { ["PYTHONIOENCODING"] = "utf-8", ["LC_ALL"] = "C.UTF-8" },
        })!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program}: {errors.Result}\n{output}");
        return output;
    }
}
