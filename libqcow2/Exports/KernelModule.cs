using System;
using System.IO;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports;

/// <summary>Loading a module of the kernel, the way that the administrator has set up (modprobe's configuration).</summary>
internal static class KernelModule
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);

    /// <summary>Loads a module that is not loaded.</summary>
    /// <returns>null if it is there now, else why not</returns>
    public static string? Load(string module)
    {
        foreach (var program in (ReadOnlySpan<string>)["/sbin/modprobe", "/usr/sbin/modprobe", "/bin/modprobe"])
        {
            if (!File.Exists(program))
                continue;
            var status = Run(program, module);
            if (status == 0 && Directory.Exists($"/sys/module/{module}"))
                return null;
            return status < 0 ? $"cannot run {program}: {Errno.Text(status)}" : $"\"modprobe {module}\" ended with status {status}";
        }

        return $"module {module} is not loaded, and there is no modprobe to load it";
    }

    private static int Run(string program, string module)
    {
        var quiet = Files.Open("/dev/null", O_RDWR | O_CLOEXEC);
        if (quiet < 0)
            return quiet;
        var pid = Spawn.Start(new Spawn.Child
        {
            Path = program,
            Arguments = [Path.GetFileName(program), module],
            Environment = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
            Descriptors = [quiet, quiet, quiet],
        });
        Files.Close(quiet);
        return pid < 0 ? pid : TimedCall.Run("qcow2blk-probe", () => Spawn.Wait(pid), s_timeout);
    }
}
