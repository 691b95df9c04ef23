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

    private const string Program = "/usr/bin/systemctl";

    private const int PatienceMilliseconds = 5_000;

    /// <summary>More jobs than that are not counted.</summary>
    private const int MaxAnswer = 64 << 10;

    /// <summary>Whether the machine is going down: every file system is being unmounted, or will be.</summary>
    public static bool IsStopping() => Directory.Exists(Booted) && Ask(Program, "is-system-running") == "stopping";

    /// <summary>Whether something is being stopped that is not a device of ours: file systems are unmounted when the services that
    /// may use them have stopped.</summary>
    public static bool StopsOthers() => Ask(Program, "list-jobs", "--plain", "--no-legend", "--no-pager", "--full") is not { } jobs
        || HasOtherStop(jobs, UnitOf(File.ReadAllText("/proc/self/cgroup")));

    /// <param name="jobs">lines of JOB UNIT TYPE STATE</param>
    /// <param name="own">the unit that this process is in</param>
    internal static bool HasOtherStop(string jobs, string own)
    {
        foreach (var line in jobs.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            if (line.Split(' ', StringSplitOptions.RemoveEmptyEntries) is [_, var unit, "stop", "running"]
                && unit != own && !unit.StartsWith("qcow2blk@", StringComparison.Ordinal))
            {
                return true;
            }
        }

        return false;
    }

    /// <param name="cgroups">lines of cgroups(7): hierarchy:controllers:/system.slice/NAME.service</param>
    internal static string UnitOf(string cgroups)
    {
        foreach (var line in cgroups.Split('\n'))
        {
            if (line[(line.LastIndexOf('/') + 1)..] is var name
                && (name.EndsWith(".service", StringComparison.Ordinal) || name.EndsWith(".scope", StringComparison.Ordinal)))
            {
                return name;
            }
        }

        return "";
    }

    /// <summary>Runs systemctl(1), or a program in its place.</summary>
    /// <returns>what it prints; null where it is missing, hangs or says nothing</returns>
    internal static string? Ask(string systemctl, params string[] arguments)
    {
        if (Unistd.Pipe(out var answer, out var output) < 0)
            return null;
        // Beyond the child's own three: each of them is then put into its place.
        var high = High(output);
        var devNull = High(Fcntl.Open("/dev/null", O_RDWR | O_CLOEXEC, 0));
        var pid = Spawn.Start(new Spawn.Child
        {
            Path = systemctl,
            Arguments = ["systemctl", .. arguments],
            Environment = ServerProgram.InheritedEnvironment(),
            Descriptors = [devNull, high, devNull],
            NewSession = true,
        });
        _ = Unistd.Close(high);
        _ = Unistd.Close(devNull);
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
        var text = new byte[MaxAnswer];
        var length = 0;
        var isWhole = false;
        while (!isWhole && length < text.Length && UnixSocket.WaitReadable(answer, PatienceMilliseconds))
        {
            var read = Unistd.Read(answer, text.AsSpan(length));
            length += Math.Max(read, 0);
            isWhole = read <= 0;
        }

        if (!isWhole)
            _ = Spawn.Kill(pid, SIGKILL);
        _ = Spawn.Wait(pid);
        return isWhole && length > 0 ? Encoding.UTF8.GetString(text, 0, length).Trim() : null;
    }

    private static int High(int fd)
    {
        var high = Fcntl.Control(fd, F_DUPFD_CLOEXEC, 3);
        _ = Unistd.Close(fd);
        return high;
    }
}
