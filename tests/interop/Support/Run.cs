using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Threading.Tasks;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>What a program ended with.</summary>
internal sealed record Outcome(string Command, int Status, string Output, string Errors)
{
    /// <summary>Fails the test unless the program exited with 0.</summary>
    public Outcome Passed()
    {
        Assert.True(Status == 0, $"{Command}: exit {Status}\n{Output}{Errors}");
        return this;
    }

    /// <summary>Fails the test unless the program failed and said so, with this text.</summary>
    public void RefusedWith(string text)
    {
        Assert.True(Status != 0, $"{Command}: exit {Status}\n{Output}{Errors}");
        Assert.Contains(text, Errors, StringComparison.OrdinalIgnoreCase);
    }

    /// <summary>Fails the test unless the program exited with this status, one line on stderr that holds all these texts, and an empty
    /// stdout.</summary>
    public Outcome Refused(int status, params string[] texts)
    {
        Assert.True(Status == status, $"{Command}: exit {Status} instead of {status}\n{Output}{Errors}");
        Assert.True(Errors.EndsWith('\n') && Errors.IndexOf('\n', StringComparison.Ordinal) == Errors.Length - 1,
            $"not one line: {Errors}");
        Assert.StartsWith("qcow2blk: ", Errors, StringComparison.Ordinal);
        Assert.All(texts, text => Assert.Contains(text, Errors, StringComparison.OrdinalIgnoreCase));
        Assert.Empty(Output);
        return this;
    }
}

/// <summary>Runs other people's programs; no shell is involved. A program that does not end in time fails the test.</summary>
internal static class Run
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(90);

    public static Outcome Program(string program, params string[] arguments) => Start(null, program, arguments).Wait();

    public static Outcome QemuImg(params string[] arguments) => Program("qemu-img", arguments).Passed();

    /// <summary>qemu-io on a qcow2 image, one -c for each command; a failing command fails the test.</summary>
    public static Outcome QemuIo(string image, params string[] commands) => QemuIoAs("qcow2", image, commands);

    public static Outcome QemuIoAs(string format, string image, params string[] commands)
    {
        List<string> arguments = ["-f", format];
        if (commands.All(command => command.StartsWith("read", StringComparison.Ordinal)))
            arguments.Add("-r");
        foreach (var command in commands)
            arguments.AddRange(["-c", command]);
        arguments.Add(image);
        var outcome = Program("qemu-io", [.. arguments]).Passed();
        Assert.DoesNotContain("failed", outcome.Output + outcome.Errors, StringComparison.Ordinal);
        return outcome;
    }

    /// <summary>Starts a program that runs beside the test.</summary>
    public static Running Start(IReadOnlyDictionary<string, string>? environment, string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        start.Environment["LC_ALL"] = "C.UTF-8";
        foreach ((var name, var value) in environment ?? new Dictionary<string, string>())
            start.Environment[name] = value;
        return new Running($"{program} {string.Join(' ', arguments)}", Process.Start(start)!, s_patience);
    }
}

/// <summary>A program that runs beside the test; killed with its children if the test ends before it does.</summary>
internal sealed class Running : IDisposable
{
    private readonly string _command;
    private readonly Process _process;
    private readonly TimeSpan _patience;
    private readonly Task<string> _errors;
    private readonly System.Text.StringBuilder _output = new();

    internal Running(string command, Process process, TimeSpan patience)
    {
        _command = command;
        _process = process;
        _patience = patience;
        _errors = process.StandardError.ReadToEndAsync();
    }

    public int Pid => _process.Id;

    public bool HasExited => _process.HasExited;

    /// <summary>Waits for a line that begins so: how clients tell what they have reached.</summary>
    public string WaitForLine(string beginning)
    {
        using var late = new System.Threading.CancellationTokenSource(_patience);
        while (true)
        {
            var line = _process.StandardOutput.ReadLineAsync(late.Token).AsTask().GetAwaiter().GetResult();
            if (line is null)
                throw new InvalidOperationException($"{_command}: ended without \"{beginning}\"\n{_output}{_errors.Result}");
            _output.Append(line).Append('\n');
            if (line.StartsWith(beginning, StringComparison.Ordinal))
                return line;
        }
    }

    public void Tell(string line)
    {
        _process.StandardInput.WriteLine(line);
        _process.StandardInput.Flush();
    }

    public Outcome Wait()
    {
        using (this)
        {
            var rest = _process.StandardOutput.ReadToEndAsync();
            if (!_process.WaitForExit(_patience))
            {
                _process.Kill(entireProcessTree: true);
                throw new TimeoutException($"{_command}: still running after {_patience}\n{_output}{rest.Result}{_errors.Result}");
            }

            _process.WaitForExit();
            _output.Append(rest.GetAwaiter().GetResult());
            return new Outcome(_command, _process.ExitCode, _output.ToString(), _errors.GetAwaiter().GetResult());
        }
    }

    public void Signal(string name) =>
        Run.Program("kill", $"-{name}", Pid.ToString(System.Globalization.CultureInfo.InvariantCulture)).Passed();

    public void Dispose()
    {
        try
        {
            if (!_process.HasExited)
                _process.Kill(entireProcessTree: true);
        }
        catch (InvalidOperationException)
        {
            // Disposed before.
        }

        _process.Dispose();
    }
}
