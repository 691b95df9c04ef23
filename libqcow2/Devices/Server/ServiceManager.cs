using System;
using System.IO;
using System.Text;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Server;

/// <summary>What systemd is asked, where it is the first process of the machine.</summary>
internal static class ServiceManager
{
    /// <summary>sd_booted(3).</summary>
    private const string Booted = "/run/systemd/system";

    private const int PatienceMilliseconds = 5_000;

    /// <summary>Whether the machine is going down: every file system is being unmounted, or will be.</summary>
    public static bool IsStopping() => Directory.Exists(Booted) && Ask("/usr/bin/systemctl") == "stopping";

    /// <param name="systemctl">the program; where it is missing, hangs or says nothing, nothing is known</param>
    /// <returns>the state of the system (systemctl(1), "is-system-running")</returns>
    internal static string? Ask(string systemctl)
    {
        if (Unistd.Pipe(out var answer, out var output) < 0)
            return null;
        // Beyond the child's own three: each of them is then put into its place.
        var high = Fcntl.Control(output, F_DUPFD_CLOEXEC, 3);
        _ = Unistd.Close(output);
        var devNull = Fcntl.Open("/dev/null", O_RDWR | O_CLOEXEC, 0);
        var devNullHigh = Fcntl.Control(devNull, F_DUPFD_CLOEXEC, 3);
        _ = Unistd.Close(devNull);
        var pid = Spawn.Start(new Spawn.Child
        {
            Path = systemctl,
            Arguments = ["systemctl", "is-system-running"],
            Environment = ServerProgram.InheritedEnvironment(),
            Descriptors = [devNullHigh, high, devNullHigh],
            NewSession = true,
        });
        _ = Unistd.Close(high);
        _ = Unistd.Close(devNullHigh);
        try
        {
            return pid > 0 ? AnswerOf(pid, answer) : null;
        }
        finally
        {
            _ = Unistd.Close(answer);
        }
    }

    private static string? AnswerOf(int pid, int answer)
    {
        Span<byte> text = stackalloc byte[64];
        var read = UnixSocket.WaitReadable(answer, PatienceMilliseconds) ? Unistd.Read(answer, text) : 0;
        if (read <= 0)
            _ = Spawn.Kill(pid, SIGKILL);
        _ = Spawn.Wait(pid);
        return read > 0 ? Encoding.UTF8.GetString(text[..read]).Trim() : null;
    }
}
