using System;
using System.IO;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>
/// The server dies with a log, somebody edits the image, the device is recovered: the log is refused, and then image and log
/// are as they were; or both the edit and what the server had answered are there.
/// </summary>
public sealed class EditedImageTests : IDisposable
{
    private const int Cluster = 65536;

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    private string Image => _directory.File("image.qcow2");

    private string Log => _directory.File("image.log");

    [Theory]
    [InlineData("write")]
    [InlineData("write in place")]
    [InlineData("write and discard")]
    [InlineData("open")]
    [InlineData("apply")]
    [InlineData("check")]
    [InlineData("bitmap")]
    public void Whoever_opened_the_image_for_writing_is_noticed(string edit)
    {
        Kill("");
        Edit(edit);
        Assert.Equal(0, Header().Autoclear.RecoveryMark());
        Assert.Matches("another program opened the image for writing|snapshots of the image|header of the image", Refused().Message);
    }

    /// <summary>Of a program that leaves bits alone which it does not know.</summary>
    [Theory]
    [InlineData("write", "host cluster 0x[0-9a-f]+ has refcount 1, it had 0")]
    [InlineData("write there", "guest cluster 16 is mapped by 0x[0-9a-f]+, it was by 0x0")]
    [InlineData("apply", "L1 table|L1 entry")]
    [InlineData("snapshot", "snapshots of the image")]
    [InlineData("resize", "the disk had 8388608 bytes")]
    [InlineData("amend", "header")]
    [InlineData("rebase", "header")]
    [InlineData("cut", "past the end of the file")]
    [InlineData("metadata", "mapped to metadata")]
    public void Record_that_does_not_prove_itself_refuses_the_log(string edit, string why)
    {
        Kill("");
        var mark = Header().Autoclear.RecoveryMark();
        Edit(edit);
        PutMark(mark);
        Assert.Matches(why, Refused().Message);
    }

    /// <summary>Version 2 has no bits that would be cleared.</summary>
    [Theory]
    [InlineData("write", "host cluster 0x[0-9a-f]+ has refcount 1, it had 0")]
    [InlineData("write there", "guest cluster 16 is mapped by 0x[0-9a-f]+, it was by 0x0")]
    [InlineData("apply", "L1 table|L1 entry")]
    [InlineData("snapshot", "snapshots of the image")]
    [InlineData("resize", "the disk had 8388608 bytes")]
    [InlineData("amend", "header")]
    [InlineData("cut", "past the end of the file")]
    public void Record_that_does_not_prove_itself_refuses_the_log_of_a_version_2_image(string edit, string why)
    {
        Kill("compat=0.10,");
        Edit(edit);
        Assert.Matches(why, Refused().Message);
    }

    [Theory]
    [InlineData("open")]
    [InlineData("write in place")]
    [InlineData("check")]
    public void Edit_of_a_version_2_image_that_leaves_its_tables_alone_is_kept_with_what_was_answered(string edit)
    {
        Kill("compat=0.10,");
        Edit(edit);
        using var next = Recover(SparseBytes.FromFile(Image), Log);
        Assert.Equal(0, next.Expect(0, Cluster, edit == "write in place" ? (byte)9 : (byte)1));
        Assert.Equal(0, next.Expect(1 << 20, 4 * Cluster, 2));
        next.Close();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Version_2_image_that_was_written_long_after_the_last_sign_of_life_is_refused(bool late)
    {
        Kill("compat=0.10,");
        Edit("write and discard");
        var modified = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() + (late ? 3_600_000 : 0);
        var content = SparseBytes.FromFile(Image);
        if (!late)
        {
            Recover(content, Log, modified).Close();
            return;
        }

        var refused = Assert.Throws<RecoveryLogException>(() => Recover(content, Log, modified));
        Assert.Contains("last sign of life", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Image_that_another_server_of_ours_left_marked_is_not_taken_for_untouched()
    {
        Kill("");
        var content = SparseBytes.FromFile(Image);
        using (var other = new OneImage(content, options: new ImageOptions { RecoveryLog = _directory.File("other.log") }))
        {
            Assert.Equal(0, other.Write(0, Cluster, 7));
            Assert.Equal(0, other.Flush());
            other.Storage.Content.Save(Image);
        }

        Assert.NotEqual(0, Header().Autoclear.RecoveryMark());
        Refused();
    }

    [Fact]
    public void Image_that_somebody_left_dirty_is_refused_before_it_is_repaired()
    {
        Kill("lazy_refcounts=on,");
        using (var file = File.OpenWrite(Image))
        {
            file.Position = HeaderField.IncompatibleFeatures + 7;
            file.WriteByte((byte)IncompatibleFeatures.Dirty);
        }

        Assert.Contains("dirty bit", Refused().Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Mark_is_in_the_image_before_the_first_change_and_goes_when_it_is_closed()
    {
        var options = new ImageOptions { RecoveryLog = Log };
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "8M"), options: options);
        Assert.Equal(0, Mark(run.Storage.Content));
        run.Storage.Fault = operation =>
        {
            if (RecoveryLog.HasRecords(Log))
                Assert.NotEqual(0, Mark(run.Storage.Content));
            return 0;
        };
        Assert.Equal(0, run.Write(0, Cluster, 1));
        Assert.NotEqual(0, Mark(run.Storage.Content));
        run.Close();
        Assert.Equal(0, Mark(run.Storage.Content));
    }

    [Theory]
    [InlineData("cluster_size=65536", true)]
    [InlineData("compat=0.10,cluster_size=65536", false)]
    public void No_mark_without_a_log_and_none_in_version_2(string format, bool withoutLog)
    {
        var before = OneImage.Make(format, "8M");
        using var run = new OneImage(before.Copy(), options: new ImageOptions { RecoveryLog = withoutLog ? null : Log });
        Assert.Equal(0, run.Write(0, Cluster, 1));
        Assert.Equal(0, run.Flush());
        Assert.Equal(Bytes(before)[72..104], Bytes(run.Storage.Content)[72..104]);
        run.Close();
    }

    [Fact]
    public void Discarded_log_leaves_the_image_as_it_is_and_says_what_was_given_up()
    {
        Kill("");
        Edit("write");
        var told = "";
        var options = new ImageOptions { RecoveryLog = Log, DiscardLog = true };
        using var next = new OneImage(SparseBytes.FromFile(Image), report: what => told += what, options: options);
        Assert.Matches("discarded [1-9] changes .* has no errors", told);
        Assert.Equal(0, next.Expect(4 << 20, 4 * Cluster, 9));
        Assert.Equal(0, next.Expect(0, Cluster, 1));
        Assert.Equal(0, next.Expect(1 << 20, 4 * Cluster, 0));
        Assert.False(RecoveryLog.HasRecords(Log));
        next.Close();
    }

    [Fact]
    public void Log_is_not_discarded_for_an_image_that_has_errors()
    {
        Kill("");
        Edit("metadata");
        var log = File.ReadAllBytes(Log);
        var content = SparseBytes.FromFile(Image);
        var options = new ImageOptions { RecoveryLog = Log, DiscardLog = true };
        var refused = Assert.Throws<IOException>(() => new OneImage(content, options: options).Dispose());
        Assert.Contains($"{Log} was kept", refused.Message, StringComparison.Ordinal);
        Assert.Equal(log, File.ReadAllBytes(Log));
        Assert.Equal(File.ReadAllBytes(Image), Bytes(content));
    }

    [Fact]
    public void Discarding_a_log_that_is_not_there_is_harmless()
    {
        var options = new ImageOptions { RecoveryLog = Log, DiscardLog = true };
        using var run = new OneImage(OneImage.Make("cluster_size=65536", "8M"), options: options);
        Assert.Equal(0, run.Write(0, Cluster, 1));
        run.Close();
    }

    /// <summary>What the server leaves: one cluster is committed, four are only answered.</summary>
    private void Kill(string format)
    {
        var made = OneImage.Make($"{format}cluster_size=65536", "8M", path => Qemu.Img("snapshot", "-c", "s", path));
        using var run = new OneImage(made, options: new ImageOptions { RecoveryLog = Log });
        Assert.Equal(0, run.Write(0, Cluster, 1));
        Assert.Equal(0, run.Flush());
        Assert.Equal(0, run.Write(1 << 20, 4 * Cluster, 2));
        run.Storage.Content.Save(Image);
    }

    private void Edit(string edit)
    {
        switch (edit)
        {
            case "open":
                Qemu.Io(Image, "read 0 64k");
                break;
            case "write":
                Qemu.Io(Image, "write -P 9 4M 256k");
                break;
            case "write there":
                Qemu.Io(Image, "write -P 9 1M 4k");
                break;
            case "write in place":
                Qemu.Io(Image, "write -P 9 0 64k");
                break;
            case "write and discard":
                Qemu.Io(Image, "write -P 9 4M 256k", "discard 4M 256k");
                break;
            case "snapshot":
                Qemu.Img("snapshot", "-c", "since", Image);
                break;
            case "apply":
                Qemu.Img("snapshot", "-a", "s", Image);
                break;
            case "resize":
                PutSize(16 << 20); // what qemu-img resize does, which it refuses in version 2 with snapshots
                break;
            case "amend":
                Qemu.Img("amend", "-f", "qcow2", "-o", Header().Version == 2 ? "compat=1.1" : "lazy_refcounts=on", Image);
                break;
            case "rebase":
                Qemu.Img("rebase", "-u", "-f", "qcow2", "-b", Image + ".base", "-F", "raw", Image);
                break;
            case "check":
                _ = Qemu.Run("qemu-img", "check", "-r", "all", "-f", "qcow2", Image);
                break;
            case "bitmap":
                Qemu.Img("bitmap", "--add", Image, "b");
                break;
            case "cut":
                var end = BytesChecker.Check(SparseBytes.FromFile(Image)).EndOffset;
                using (var file = File.OpenWrite(Image))
                    file.SetLength(end);
                break;
            case "metadata":
                PointToRefcountTable();
                break;
            default:
                throw new ArgumentException(edit);
        }
    }

    private void PutSize(long size)
    {
        using var file = File.OpenWrite(Image);
        file.Position = HeaderField.Size;
        file.Write(BitConverter.GetBytes(System.Buffers.Binary.BinaryPrimitives.ReverseEndianness(size)));
    }

    /// <summary>Maps guest cluster 18 to it.</summary>
    private void PointToRefcountTable()
    {
        var bytes = File.ReadAllBytes(Image);
        var l1 = (int)Header().L1TableOffset.Value;
        var l2 = (int)L1Entry.Decode(System.Buffers.Binary.BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(l1))).Offset.Value;
        new byte[] { 0x80, 0, 0, 0, 0, 1, 0, 0 }.CopyTo(bytes, l2 + (18 * 8));
        File.WriteAllBytes(Image, bytes);
    }

    private void PutMark(byte mark)
    {
        using var file = File.OpenWrite(Image);
        file.Position = HeaderField.AutoclearFeatures;
        file.WriteByte(mark);
    }

    /// <summary>Recovers in vain: nothing was changed.</summary>
    private RecoveryLogException Refused()
    {
        var before = File.ReadAllBytes(Image);
        var log = File.ReadAllBytes(Log);
        var content = SparseBytes.FromFile(Image);
        var refused = Assert.Throws<RecoveryLogException>(() => Recover(content, Log).Dispose());
        Assert.True(before.SequenceEqual(Bytes(content)), "the image was changed");
        Assert.True(log.SequenceEqual(File.ReadAllBytes(Log)), "the log was changed");
        return refused;
    }

    private static OneImage Recover(SparseBytes content, string log, long? modified = null) =>
        new(content, options: new ImageOptions { RecoveryLog = log, Replay = true }, modified: modified);

    private Header Header()
    {
        var bytes = File.ReadAllBytes(Image);
        return Qcow2Blk.Format.Header.Parse(bytes, Image);
    }

    private static byte Mark(SparseBytes content) => Bytes(content)[HeaderField.AutoclearFeatures];

    private static byte[] Bytes(SparseBytes content)
    {
        var bytes = new byte[content.Length];
        content.Read(0, bytes);
        return bytes;
    }
}
