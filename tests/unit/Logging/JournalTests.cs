using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Linq;
using System.Net.Sockets;
using System.Text;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Qcow2Blk.Tests.Devices;
using Qcow2Blk.Tests.Support;
using Qcow2Blk.Tests.Tidy;
using Xunit;

namespace Qcow2Blk.Tests.Logging;

/// <summary>The test is journald: it reads entries as the protocol says, with nothing of ours.</summary>
public sealed class JournalTests : IDisposable
{
    private readonly TempDirectory _folder = new();
    private readonly Socket _journal = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
    private readonly ListLog _otherwise = new();

    public JournalTests()
    {
        _journal.Bind(new UnixDomainSocketEndPoint(_folder.File("socket")));
        _journal.ReceiveTimeout = 10_000;
    }

    public void Dispose()
    {
        _journal.Dispose();
        _folder.Dispose();
    }

    private JournalLog Log(string image = "/data/disk.qcow2", string? device = "/dev/ublkb0") =>
        new(LogLevel.Info, new LogSubject("disk", image, device), _folder.File("socket"), _otherwise);

    private List<(string Name, string Value)> Receive()
    {
        var bytes = new byte[1 << 18];
        return Fields(bytes.AsSpan(0, _journal.Receive(bytes)));
    }

    private static List<(string Name, string Value)> Fields(ReadOnlySpan<byte> entry)
    {
        var fields = new List<(string, string)>();
        while (entry.Length > 0)
        {
            var end = entry.IndexOf((byte)'\n');
            var line = entry[..end];
            entry = entry[(end + 1)..];
            if (line.IndexOf((byte)'=') is var equals and >= 0)
            {
                fields.Add((Encoding.UTF8.GetString(line[..equals]), Encoding.UTF8.GetString(line[(equals + 1)..])));
                continue;
            }

            var length = (int)BinaryPrimitives.ReadInt64LittleEndian(entry);
            fields.Add((Encoding.UTF8.GetString(line), Encoding.UTF8.GetString(entry.Slice(8, length))));
            Assert.Equal((byte)'\n', entry[8 + length]);
            entry = entry[(9 + length)..];
        }

        return fields;
    }

    [Fact]
    public void Line_carries_what_it_is_about()
    {
        Log().Write(LogLevel.Warning, LogEvent.NoSpace, "requests wait");
        var fields = Receive().ToDictionary(field => field.Name, field => field.Value);
        Assert.Equal("requests wait", fields["MESSAGE"]);
        Assert.Equal("4", fields["PRIORITY"]);
        Assert.Equal("qcow2blk", fields["SYSLOG_IDENTIFIER"]);
        Assert.Equal(LogEvents.IdOf(LogEvent.NoSpace), fields["MESSAGE_ID"]);
        Assert.Equal("disk", fields["QCOW2BLK_NAME"]);
        Assert.Equal("/data/disk.qcow2", fields["QCOW2BLK_IMAGE"]);
        Assert.Equal("/dev/ublkb0", fields["QCOW2BLK_DEVICE"]);
    }

    [Theory]
    [InlineData("/data/x\nPRIORITY=0\nQCOW2BLK_NAME=other.qcow2")]
    [InlineData("/data/x\n")]
    [InlineData("/data/a=b\nMESSAGE\n\u0001\0\0\0\0\0\0\0x")]
    public void No_name_makes_up_a_field(string image)
    {
        Log(image).Error($"cannot open {image}");
        var fields = Receive();
        Assert.Equal(image, Assert.Single(fields, field => field.Name == "QCOW2BLK_IMAGE").Value);
        Assert.Equal("3", Assert.Single(fields, field => field.Name == "PRIORITY").Value);
        Assert.Equal("disk", Assert.Single(fields, field => field.Name == "QCOW2BLK_NAME").Value);
        Assert.DoesNotContain('\n', Assert.Single(fields, field => field.Name == "MESSAGE").Value);
    }

    [Fact]
    public void Value_of_any_length_fits_into_a_datagram()
    {
        Log(new string('x', 1 << 20), device: null).Error(new string('y', 1 << 20));
        var fields = Receive();
        Assert.Equal(JournalEntry.MaxValue, Assert.Single(fields, field => field.Name == "QCOW2BLK_IMAGE").Value.Length);
        Assert.Equal(JournalEntry.MaxValue, Assert.Single(fields, field => field.Name == "MESSAGE").Value.Length);
        Assert.DoesNotContain(fields, field => field.Name == "QCOW2BLK_DEVICE");
    }

    [Fact]
    public void Line_that_the_journal_does_not_take_goes_to_the_system_log()
    {
        _journal.Dispose();
        Log().Error("flush failed");
        Assert.Equal("flush failed", Assert.Single(_otherwise.Lines));
    }

    [Fact]
    public void Standard_error_is_the_journal_only_where_the_variable_names_that_very_file()
    {
        Assert.Equal(0, Unistd.Pipe(out var read, out var write));
        Assert.Equal(0, Stat.OfFile(write, out var stat));
        // Pipes are on a device of major number 0.
        Assert.True(JournalLog.Leads($"{stat.stx_dev_minor}:{stat.stx_ino}", write));
        Assert.False(JournalLog.Leads($"{stat.stx_dev_minor}:{stat.stx_ino + 1}", write));
        Assert.False(JournalLog.Leads(null, write));
        _ = Unistd.Close(read);
        _ = Unistd.Close(write);
    }

    [Fact]
    public void Every_event_has_an_id_of_its_own()
    {
        var ids = Enum.GetValues<LogEvent>().Select(LogEvents.IdOf).ToArray();
        Assert.Equal(ids.Length, ids.Distinct().Count());
        Assert.All(ids, id => Assert.Matches("^[0-9a-f]{32}$", id));
        var page = SourceTree.Read("docs/systemd.md");
        Assert.All(ids, id => Assert.Contains(id, page, StringComparison.Ordinal));
    }
}
