using System;
using System.Collections;
using System.Collections.Generic;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Remote.Http;

/// <summary>
/// Runs a shell command that prints a secret. It gets nothing secret, is killed with what it started when it takes too long, and what it
/// prints goes nowhere but to who asked.
/// </summary>
internal static class SecretCommand
{
    /// <summary>Bytes that a command may print.</summary>
    private const int MaxOutput = 64 << 10;

    /// <summary>Runs it to its end. Not on a loop.</summary>
    /// <param name="fetch">gets what it printed</param>
    /// <param name="command">for the shell</param>
    /// <param name="argument">its $1</param>
    /// <param name="patience">how long it may take</param>
    /// <returns>null, or why it failed, as the rest of a sentence that begins with its name</returns>
    public static string? Run(SecretFetch fetch, string command, string argument, TimeSpan patience)
    {
        ArgumentNullException.ThrowIfNull(fetch);
        if (Unistd.Pipe(out var readEnd, out var writeEnd) is var error and < 0)
            return $"could not be run: {Errno.Text(error)}";
        var nothing = Files.Open("/dev/null", O_RDONLY | O_CLOEXEC);
        var pid = Spawn.Start(new Spawn.Child
        {
            Path = "/bin/sh",
            Arguments = ["/bin/sh", "-c", command, "sh", argument],
            Environment = Variables(),
            Descriptors = [nothing, writeEnd, 2],
            NewSession = true,
        });
        _ = Unistd.Close(writeEnd);
        _ = Unistd.Close(nothing);
        if (pid < 0)
        {
            _ = Unistd.Close(readEnd);
            return $"could not be run: {Errno.Text(pid)}";
        }

        var began = Stopwatch.GetTimestamp();
        var failure = Collect(fetch, readEnd, patience) ?? WaitForEnd(pid, patience - Stopwatch.GetElapsedTime(began));
        _ = Unistd.Close(readEnd);

        // The whole session: what a shell started may hold on to the pipe, or to us.
        if (failure is not null)
            _ = Spawn.Kill(-pid, SIGKILL);
        var status = Spawn.Wait(pid);
        return failure ?? (status == 0 ? null : $"ended with status {status}");
    }

    /// <summary>One that has closed its output may go on for ever.</summary>
    private static string? WaitForEnd(int pid, TimeSpan patience)
    {
        var process = Spawn.OpenProcess(pid);
        if (process < 0)
            return $"could not be waited for: {Errno.Text(process)}";
        var hasEnded = UnixSocket.WaitReadable(process, (int)Math.Max(0, patience.TotalMilliseconds));
        _ = Unistd.Close(process);
        return hasEnded ? null : "did not end";
    }

    /// <summary>Reads to the end of what it prints.</summary>
    private static string? Collect(SecretFetch fetch, int fd, TimeSpan patience)
    {
        const int nap = 100;
        var bytes = new byte[MaxOutput];
        var length = 0;
        var began = Stopwatch.GetTimestamp();
        while (true)
        {
            if (fetch.IsUnwanted)
                return "is not needed any more";
            if (Stopwatch.GetElapsedTime(began) > patience)
                return string.Create(CultureInfo.InvariantCulture, $"took longer than {patience.TotalSeconds:0.#} s");
            if (!UnixSocket.WaitReadable(fd, nap))
                continue;
            if (length == bytes.Length)
                return $"printed more than {MaxOutput} bytes";
            var count = Unistd.Read(fd, bytes.AsSpan(length));
            if (count < 0)
                return $"could not be read from: {Errno.Text(count)}";
            if (count == 0)
                break;
            length += count;
        }

        fetch.Output = Encoding.UTF8.GetString(bytes, 0, length);
        Array.Clear(bytes);
        return null;
    }

    private static List<string> Variables()
    {
        var variables = new List<string>();
        foreach (DictionaryEntry entry in Environment.GetEnvironmentVariables())
            variables.Add($"{entry.Key}={entry.Value}");
        return variables;
    }
}
