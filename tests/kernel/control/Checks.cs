using System;
using System.Collections.Generic;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Tests.Kernel;

/// <summary>What a check says when the kernel lacks what it is about.</summary>
internal sealed class SkippedException(string why) : Exception(why);

/// <summary>Runs checks one by one and prints a line of each: ok, FAIL or SKIP.</summary>
internal sealed class Checks
{
    private int _passed;
    private int _failed;
    private int _skipped;

    public void Run(string promise, Action check)
    {
        try
        {
            check();
            _passed++;
            Console.WriteLine($"ok   {promise}");
        }
        catch (SkippedException reason)
        {
            _skipped++;
            Console.WriteLine($"SKIP {promise}: {reason.Message}");
        }
#pragma warning disable CA1031 // Whatever it is, the other checks still run.
        catch (Exception error)
#pragma warning restore CA1031
        {
            _failed++;
            Console.WriteLine($"FAIL {promise}: {error}");
        }
    }

    /// <returns>the exit status</returns>
    public int End()
    {
        Console.WriteLine($"{_passed} passed, {_failed} failed, {_skipped} skipped");
        return _failed == 0 && _passed > 0 ? 0 : 1;
    }

    public static void Equal<T>(T expected, T found, string what)
    {
        if (!EqualityComparer<T>.Default.Equals(expected, found))
            throw new InvalidOperationException($"{what} is {found}, not {expected}");
    }

    public static void True(bool condition, string what)
    {
        if (!condition)
            throw new InvalidOperationException(what);
    }

    /// <summary>The answer of a command: 0 or a negative errno.</summary>
    public static void Answer(int expected, int found, string command) => Equal(Name(expected), Name(found), command);

    private static string Name(int answer) => answer >= 0 ? $"{answer}" : $"{answer} ({Errno.Text(answer)})";
}
