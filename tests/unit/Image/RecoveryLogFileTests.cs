using System;
using System.Diagnostics;
using System.IO;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Commit;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>The file of a recovery log: only one that this user made, of a version that is known.</summary>
public sealed class RecoveryLogFileTests : IDisposable
{
    private static readonly LoggedImage s_image = new(new LogIdentity(1, 2, 3, 4, 5, 6, 7, 8, 9), Mark: 0, Modified: null);

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    private string Path => _directory.File("disk.log");

    private string Victim => _directory.File("victim");

    [Theory]
    [InlineData("symbolic link", "it is a symbolic link")]
    [InlineData("link", "it has more than one name (hard links)")]
    [InlineData("pipe", "it is not a regular file")]
    [InlineData("directory", "is a directory")]
    [InlineData("owner", "it belongs to user 65534")]
    public void What_is_not_a_file_of_ours_alone_is_neither_used_nor_changed(string kind, string why)
    {
        File.WriteAllText(Victim, "precious");
        switch (kind)
        {
            case "symbolic link":
                File.CreateSymbolicLink(Path, Victim);
                break;
            case "link":
                Run("ln", Victim, Path);
                break;
            case "pipe":
                Run("mkfifo", Path);
                break;
            case "directory":
                Directory.CreateDirectory(Path);
                break;
            default:
                if (Environment.UserName != "root")
                    Assert.Skip("only root can give a file away");
                File.Move(Victim, Path);
                Run("chown", "65534", Path);
                break;
        }

        var refused = Assert.Throws<IOException>(() => RecoveryLog.Create(Path, s_image).Dispose());
        Assert.Contains(why, refused.Message, StringComparison.Ordinal);
        refused = Assert.Throws<IOException>(() => RecoveryLog.Open(Path, s_image));
        Assert.Contains(why, refused.Message, StringComparison.Ordinal);
        Assert.False(RecoveryLog.HasRecords(Path));
        Assert.Equal("precious", File.ReadAllText(kind == "owner" ? Path : Victim));
    }

    [Theory]
    [InlineData("qblk2log", "format 2")]
    [InlineData("qblklog9", "format 9")]
    public void Log_of_another_version_is_refused_by_name_and_replaced_when_it_is_empty(string magic, string said)
    {
        var log = Make(records: 1);
        System.Text.Encoding.ASCII.GetBytes(magic).CopyTo(log, 0);
        File.WriteAllBytes(Path, log);
        Assert.True(RecoveryLog.HasRecords(Path));
        Assert.Contains(said, Assert.Throws<RecoveryLogException>(() => RecoveryLog.Open(Path, s_image)).Message, StringComparison.Ordinal);
        Assert.Equal(log, File.ReadAllBytes(Path));

        log[16] = log[8]; // end and start
        File.WriteAllBytes(Path, log);
        Assert.False(RecoveryLog.HasRecords(Path));
        Assert.Null(RecoveryLog.Open(Path, s_image));
        RecoveryLog.Create(Path, s_image).Dispose();
        Assert.StartsWith("qblklog4", File.ReadAllText(Path), StringComparison.Ordinal);
    }

    [Fact]
    public void Records_survive_the_process_with_their_log()
    {
        Make(records: 2);
        using var log = RecoveryLog.Open(Path, s_image with { Mark = Mark() })!;
        Assert.Equal(2, log.Count);
        var changes = new LoggedChanges(log);
        var entry = Assert.Single(changes.Clusters);
        Assert.Equal(
            (7L, 2, new StoredL2Entry(0, 9), new StoredL2Entry(2, 11)), (entry.Index, entry.Count, entry.Old, entry.New));
        Assert.Empty(changes.L1Entries);
    }

    [Fact]
    public void Record_that_found_no_room_refuses_the_log()
    {
        using (var log = RecoveryLog.Create(Path, s_image))
        {
            for (var i = 0; i <= RecoveryLog.Capacity; i++)
                log.Append(new GuestCluster(i), default, new StoredL2Entry(1), default);
        }

        var refused = Assert.Throws<RecoveryLogException>(() => RecoveryLog.Open(Path, s_image with { Mark = Mark() }));
        Assert.Contains("is incomplete", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Largest_index_and_every_flag_fit_into_a_record()
    {
        var record = new LogRecord((1L << 40) - 1, LogRecord.InL1, new StoredL2Entry(ulong.MaxValue), new StoredL2Entry(5),
            new LogTime((1 << 22) + 3, Recycled: true));
        Assert.Equal(((1L << 40) - 1, true, true), (record.Index, record.Has(LogRecord.InL1), record.Has(LogRecord.Recycled)));
        Assert.False(record.IsTakenBefore((1 << 22) + 3));
        Assert.True(record.IsTakenBefore((1 << 22) + 4));
        record = new LogRecord(1, 0, default, default, new LogTime((1 << 22) - 1, Recycled: false));
        Assert.True(record.IsTakenBefore(1 << 22));
        Assert.False(record.Has(LogRecord.Recycled));
    }

    /// <summary>Writes a log and leaves it.</summary>
    private byte[] Make(int records)
    {
        using (var log = RecoveryLog.Create(Path, s_image))
        {
            for (var i = 0UL; i < (ulong)records; i++)
                log.Append(new GuestCluster(7), new StoredL2Entry(i, i + 9), new StoredL2Entry(i + 1, i + 10), default);
        }

        return File.ReadAllBytes(Path);
    }

    private byte Mark()
    {
        using var log = File.OpenRead(Path);
        log.Position = 9 * 8;
        return (byte)log.ReadByte();
    }

    private static void Run(string program, params string[] arguments)
    {
        using var process = Process.Start(program, arguments);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }
}
