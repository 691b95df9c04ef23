using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Text.Json;
using Xunit;

namespace Qcow2Blk.Tests.Cli;

/// <summary>The command as users run it: the native binary where the test run names one, else the one built beside the tests.</summary>
internal static class Command
{
    internal static string Path { get; } = Find();

    /// <summary>Whether that is the native binary, which has no assembly beside it.</summary>
    internal static bool IsNative => !File.Exists(Path + ".dll");

    internal static (int Status, string Output, string Errors) Run(params string[] arguments) => RunIn(null, arguments);

    /// <param name="runtimeDirectory">where its devices are; null for a place without any</param>
    internal static (int Status, string Output, string Errors) RunIn(string? runtimeDirectory, params string[] arguments) =>
        Start(Path, runtimeDirectory ?? "/nonexistent/qcow2blk", arguments);

    internal static (int Status, string Output, string Errors) Start(string program, string runtimeDirectory,
        params IEnumerable<string> arguments)
    {
        // Errors go to a file, not to a pipe: a server that the command leaves behind may hold the other end (the runtime of
        // a build that is not native keeps a copy of standard error), and reading would wait for the server's end.
        var errors = System.IO.Path.GetTempFileName();
        try
        {
            var start =
                new ProcessStartInfo("/bin/sh", ["-c", "errors=$1; shift; exec \"$@\" 2>\"$errors\"", "sh", errors, program, .. arguments])
                {
                    RedirectStandardOutput = true,
                };
            start.Environment["QCOW2BLK_RUNTIME_DIR"] = runtimeDirectory;
            using var process = Process.Start(start)!;
            var output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return (process.ExitCode, output, File.ReadAllText(errors));
        }
        finally
        {
            File.Delete(errors);
        }
    }

    internal static JsonElement Json(params string[] arguments)
    {
        (var status, var output, var errors) = Run(arguments);
        Assert.True(status == 0, errors);
        return JsonDocument.Parse(output).RootElement;
    }

    private static string Find()
    {
        var named = Environment.GetEnvironmentVariable("QCOW2BLK_BINARY");
        if (named is not null && File.Exists(named))
            return named;
        // tests/unit/bin/CONFIGURATION/net10.0 -> cli/bin/CONFIGURATION/net10.0
        var parts = AppContext.BaseDirectory.TrimEnd('/').Split('/');
        return string.Join('/', parts[..^5].Concat(["cli", "bin", parts[^2], parts[^1], "qcow2blk"]));
    }
}
