using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Cli;

/// <summary>Other programs that a command runs, with a list of arguments and never through a shell.</summary>
internal static class ChildProcess
{
    /// <summary>Where programs of the system are: what root runs must not depend on somebody's PATH.</summary>
    private static readonly string[] s_system = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"];

    /// <summary>Runs a program with our standard input, output and error.</summary>
    /// <returns>its exit status, 128 + signal if one ended it</returns>
    /// <exception cref="OutcomeException">it cannot be run</exception>
    internal static int Run(string program, params IEnumerable<string> arguments) => Wait(program, Start(program, arguments, 1));

    /// <summary>Runs a program and reads what it prints on standard output.</summary>
    /// <exception cref="OutcomeException">it cannot be run</exception>
    internal static (int Status, string Output) Capture(string program, params IEnumerable<string> arguments)
    {
        var result = Unistd.Pipe(out var readEnd, out var writeEnd);
        if (result < 0)
            throw Refused(program, Errno.Text(result));
        using var reader = new FileStream(new SafeFileHandle(readEnd, ownsHandle: true), FileAccess.Read, bufferSize: 0);
        int pid;
        try
        {
            pid = Start(program, arguments, writeEnd);
        }
        finally
        {
            _ = Unistd.Close(writeEnd);
        }

        using var text = new StreamReader(reader, Encoding.UTF8);
        var output = text.ReadToEnd();
        return (Wait(program, pid), output);
    }

    private static int Start(string program, IEnumerable<string> arguments, int output)
    {
        var path = Find(program) ?? throw Refused(program, "it is not installed");
        var pid = Spawn.Start(new Spawn.Child
        {
            Path = path,
            Arguments = [program, .. arguments],
            Environment = ServerProgram.InheritedEnvironment(),
            Descriptors = [0, output, 2],
        });
        return pid > 0 ? pid : throw Refused(program, Errno.Text(pid));
    }

    private static int Wait(string program, int pid)
    {
        var status = Spawn.Wait(pid);
        return status >= 0 ? status : throw Refused(program, Errno.Text(status));
    }

    /// <summary>The folders of the system come first, then those of PATH.</summary>
    private static string? Find(string program) =>
        s_system.Concat((Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')).Where(folder => folder.StartsWith('/'))
            .Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);

    private static OutcomeException Refused(string program, string why) => new(OutcomeKind.Failed, $"cannot run {program}", why);
}
