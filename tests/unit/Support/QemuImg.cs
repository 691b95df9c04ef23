using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Text.Json;
using System.Threading.Tasks;

namespace Qcow2Blk.Tests.Support;

/// <summary>
/// Runs qemu's programs: the makers of our test images and the oracles for what we read from them. Arguments are
/// passed as they are, no shell is involved.
/// </summary>
internal static class QemuImg
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(2);

    /// <summary>What a program ended with.</summary>
    public sealed record Outcome(int ExitCode, string Output, string Error);

    /// <summary>qemu-img; fails the test unless it exits with 0.</summary>
    /// <returns>its standard output</returns>
    public static string Run(params string[] arguments) => MustPass("qemu-img", Try(arguments), arguments);

    /// <summary>qemu-img, whatever it exits with.</summary>
    public static Outcome Try(params string[] arguments) => Start("qemu-img", arguments);

    /// <summary>qemu-img create; <paramref name="options"/> as for -o, size as qemu writes it ("1M").</summary>
    public static void Create(string path, string size, string options = "")
    {
        string[] arguments = options.Length == 0
            ? ["create", "-q", "-f", "qcow2", path, size]
            : ["create", "-q", "-f", "qcow2", "-o", options, path, size];
        Run(arguments);
    }

    /// <summary>qemu-img create of 1 MiB with the key "abc".</summary>
    /// <remarks>
    /// For LUKS qemu-img measures how fast it derives keys and, on a busy machine, sometimes gives up with "Unable to
    /// get accurate CPU usage". Only that is tried again; any other failure fails the test.
    /// </remarks>
    public static void CreateEncrypted(string path, string format, string options = "")
    {
        string[] arguments = ["create", "-q", "--object", "secret,id=s,data=abc", "-f", "qcow2",
            "-o", $"encrypt.format={format},encrypt.key-secret=s{(format == "luks" ? ",encrypt.iter-time=10" : "")}{options}", path, "1M"];
        for (var attempt = 1; attempt < 8; attempt++)
        {
            var outcome = Try(arguments);
            if (outcome.ExitCode == 0)
                return;
            if (!outcome.Error.Contains("Unable to get accurate CPU usage", StringComparison.Ordinal))
                break;
        }

        Run(arguments);
    }

    /// <summary>qemu-img info --output=json.</summary>
    public static JsonElement Info(string path) => JsonDocument.Parse(Run("info", "--output=json", "-f", "qcow2", path)).RootElement;

    /// <summary>qemu-img map --output=json.</summary>
    public static JsonElement Map(string path) => JsonDocument.Parse(Run("map", "--output=json", "-f", "qcow2", path)).RootElement;

    /// <summary>qemu-img check -q; fails the test on any error or leak.</summary>
    public static void Check(string path) => Run("check", "-q", "-f", "qcow2", path);

    /// <summary>qemu-io with one -c for each command; fails the test if one of them fails.</summary>
    public static string Io(string path, params string[] commands) => Io(path, [], commands);

    /// <summary>qemu-io with options of its own (e.g. -d unmap) before the commands.</summary>
    public static string Io(string path, string[] options, string[] commands)
    {
        var arguments = new List<string> { "-f", "qcow2" };
        arguments.AddRange(options);
        foreach (var command in commands)
            arguments.AddRange(["-c", command]);
        arguments.Add(path);
        return MustPass("qemu-io", Start("qemu-io", arguments), arguments);
    }

    private static string MustPass(string program, Outcome outcome, IEnumerable<string> arguments)
    {
        if (outcome.ExitCode != 0)
        {
            throw new InvalidOperationException(
                $"{program} {string.Join(' ', arguments)}: exit {outcome.ExitCode}\n{outcome.Output}{outcome.Error}");
        }

        return outcome.Output;
    }

    private static Outcome Start(string program, IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        start.Environment["LC_ALL"] = "C.UTF-8";
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(s_patience))
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"{program} {string.Join(' ', arguments)}: still running after {s_patience}");
        }

        return new Outcome(process.ExitCode, output.GetAwaiter().GetResult(), error.GetAwaiter().GetResult());
    }
}
