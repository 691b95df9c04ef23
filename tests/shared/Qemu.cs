using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Text.Json;

namespace Qcow2Blk.Tests.Shared;

/// <summary>What <c>qemu-img check</c> says.</summary>
internal enum Verdict
{
    Clean,
    Leaks,
    Errors,
}

/// <summary>qemu's tools: they make the images, and they are the judge of what we write.</summary>
internal static class Qemu
{
    /// <summary>Runs qemu-img and fails the test if that fails.</summary>
    public static string Img(params string[] arguments) => Expect("qemu-img", arguments);

    /// <summary>Runs qemu-io commands on an image and fails the test if one fails.</summary>
    public static string Io(string image, params string[] commands) => IoAs("qcow2", image, commands);

    public static string IoAs(string format, string image, params string[] commands)
    {
        var arguments = new List<string> { "-f", format };
        foreach (var command in commands)
            arguments.AddRange(["-c", command]);
        arguments.Add(image);
        var output = Expect("qemu-io", [.. arguments]);
        if (output.Contains("failed", StringComparison.Ordinal) || output.Contains("error", StringComparison.Ordinal))
            throw new InvalidOperationException($"qemu-io {string.Join("; ", commands)}: {output}");
        return output;
    }

    /// <summary>The verdict of <c>qemu-img check</c>; an image that it cannot open counts as one with errors.</summary>
    public static Verdict Check(string image, out string report) => Check(["-f", "qcow2", image], out report);

    /// <summary>As the other.</summary>
    /// <param name="opened">the arguments that name the image</param>
    /// <param name="report">what it said</param>
    public static Verdict Check(string[] opened, out string report)
    {
        var (exit, output, errors) = Run("qemu-img", ["check", "--output=json", .. opened]);
        report = $"exit {exit}\n{errors}{output}";
        if (exit is 1 or 2)
            return Verdict.Errors;
        using var json = JsonDocument.Parse(output);
        var root = json.RootElement;
        if (Count(root, "corruptions") + Count(root, "check-errors") > 0)
            return Verdict.Errors;
        return Count(root, "leaks") > 0 ? Verdict.Leaks : Verdict.Clean;
    }

    public static (int Exit, string Output, string Errors) Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, errors.Result);
    }

    private static long Count(JsonElement root, string name) =>
        root.TryGetProperty(name, out var value) ? value.GetInt64() : 0;

    private static string Expect(string program, string[] arguments)
    {
        var (exit, output, errors) = Run(program, arguments);
        if (exit != 0)
            throw new InvalidOperationException($"{program} {string.Join(' ', arguments)}: exit {exit}: {errors}{output}");
        return output + errors;
    }
}
