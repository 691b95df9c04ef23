using System;
using System.Globalization;
using System.IO;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Logging;

/// <summary>What every log line of a server is about.</summary>
/// <param name="Name">of the device</param>
/// <param name="Image">its file</param>
/// <param name="Device">its node, if it has one and that is known</param>
internal sealed record LogSubject(string Name, string Image, string? Device);

/// <summary>Log lines as entries of systemd's journal: "journalctl QCOW2BLK_NAME=disk".</summary>
/// <param name="level">lines above it are dropped</param>
/// <param name="subject">what they are about</param>
/// <param name="socket">where journald listens</param>
/// <param name="otherwise">where lines go that it does not take</param>
internal sealed class JournalLog(LogLevel level, LogSubject subject, string socket, ILog otherwise) : ILog
{
    /// <summary>Where journald listens.</summary>
    public const string Socket = "/run/systemd/journal/socket";

    private const string Variable = "JOURNAL_STREAM";

    public LogLevel Level { get; } = level;

    public void Write(LogLevel level, string message) => Write(level, null, message);

    public void Write(LogLevel level, LogEvent what, string message) => Write(level, LogEvents.IdOf(what), message);

    private void Write(LogLevel level, string? messageId, string message)
    {
        if (level > Level)
            return;
        ArgumentNullException.ThrowIfNull(message);
        var entry = new JournalEntry()
            .Add("MESSAGE", Printable.Escape(message))
            .Add("PRIORITY", SyslogLog.Priority(level).ToString(CultureInfo.InvariantCulture))
            .Add("SYSLOG_FACILITY", "3")
            .Add("SYSLOG_IDENTIFIER", "qcow2blk")
            .Add("SYSLOG_PID", Environment.ProcessId.ToString(CultureInfo.InvariantCulture))
            .Add("MESSAGE_ID", messageId)
            .Add("QCOW2BLK_NAME", subject.Name)
            .Add("QCOW2BLK_IMAGE", subject.Image)
            .Add("QCOW2BLK_DEVICE", subject.Device);
        if (UnixSocket.SendDatagram(socket, entry.Bytes) < 0)
            otherwise.Write(level, message);
    }

    /// <summary>For a server in the background: the journal where there is one, otherwise the system log.</summary>
    public static ILog ForBackground(LogLevel level, LogSubject subject)
    {
        var system = new SyslogLog(level, subject.Name);
        return File.Exists(Socket) ? new JournalLog(level, subject, Socket, system) : system;
    }

    /// <summary>For a server in the foreground: standard error, or the journal itself where standard error leads to it.</summary>
    public static ILog ForForeground(LogLevel level, LogSubject subject)
    {
        var terminal = new StderrLog(level);
        return Leads(Environment.GetEnvironmentVariable(Variable), 2) && File.Exists(Socket)
            ? new JournalLog(level, subject, Socket, terminal) : terminal;
    }

    /// <summary>Whether a descriptor is the stream that the variable speaks of (systemd.exec(5)): it may be another one by now.</summary>
    /// <param name="stream">DEVICE:INODE, in decimal</param>
    /// <param name="fd">of ours</param>
    internal static bool Leads(string? stream, int fd)
    {
        if (stream is null || Stat.OfFile(fd, out var stat) < 0)
            return false;
        // makedev(3): twelve bits of the major number between eight and the rest of the minor one, and the rest of the major above.
        ulong major = stat.stx_dev_major, minor = stat.stx_dev_minor;
        var device = ((major & 0xfffff000) << 32) | ((major & 0xfff) << 8) | ((minor & 0xffffff00) << 12) | (minor & 0xff);
        return stream == string.Create(CultureInfo.InvariantCulture, $"{device}:{stat.stx_ino}");
    }
}
