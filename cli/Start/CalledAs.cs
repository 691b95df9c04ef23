using System;
using System.IO;
using System.Linq;
using System.Text;
using Qcow2Blk.Cli.Dm;
using Qcow2Blk.Cli.Mount;

namespace Qcow2Blk.Cli.Start;

/// <summary>The name that the program was called by: links to it are programs of their own.</summary>
internal static class CalledAs
{
    private static readonly string[] s_names = [MountHelper.Name, UnmountHelper.Name, DmCommand.Name];

    /// <summary>One of the other names; null for the command itself.</summary>
    internal static string? Other() => OtherIn("/proc/self/cmdline");

    /// <param name="file">the command line of the process; where there is none to read, it is the command itself</param>
    internal static string? OtherIn(string file)
    {
        try
        {
            var called = First(File.ReadAllBytes(file));
            return s_names.FirstOrDefault(name => name == called);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <param name="commandLine">words, each with a NUL behind it</param>
    /// <returns>the first word without its folders</returns>
    internal static string First(ReadOnlySpan<byte> commandLine)
    {
        var end = commandLine.IndexOf((byte)0);
        return Path.GetFileName(Encoding.UTF8.GetString(end < 0 ? commandLine : commandLine[..end]));
    }
}
