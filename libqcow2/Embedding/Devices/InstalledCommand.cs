using System;
using System.Collections.Generic;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Server;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Embedding.Devices;

/// <summary>
/// The qcow2blk command that was installed with the library: block devices are served by it. It is looked for from where the library
/// was loaded, then where packages put it, and never by the search path, which others may have set.
/// </summary>
internal static unsafe class InstalledCommand
{
    private const string Name = "qcow2blk";

    /// <exception cref="OutcomeException">it is nowhere; says where it was looked for</exception>
    public static ServerProgram Find() => Find(LibraryFolder());

    /// <param name="library">the folder of the library; null if that is not known</param>
    internal static ServerProgram Find(string? library)
    {
        string[] places = [.. Places(library).Distinct()];
        return places.FirstOrDefault(IsProgram) is { } path
            ? new ServerProgram(path, []) { IsSilent = true }
            : throw new OutcomeException(OutcomeKind.Failed, "cannot start a server of a block device",
                $"the qcow2blk command is not in {string.Join(", ", places.Select(Path.GetDirectoryName))}",
                "install it with the library")
            { Error = -Errno.ENOEXEC };
    }

    private static IEnumerable<string> Places(string? library)
    {
        if (library is not null)
        {
            // PREFIX/lib; PREFIX/lib/x86_64-linux-gnu; where both were built.
            foreach (var folder in (string[])["../bin", "../../bin", "."])
                yield return Path.GetFullPath(Path.Combine(library, folder, Name));
        }

        yield return $"/usr/local/bin/{Name}";
        yield return $"/usr/bin/{Name}";
    }

    private static bool IsProgram(string path)
    {
        const UnixFileMode anyExecute = UnixFileMode.UserExecute | UnixFileMode.GroupExecute | UnixFileMode.OtherExecute;
        try
        {
            return File.Exists(path) && OperatingSystem.IsLinux() && (File.GetUnixFileMode(path) & anyExecute) != 0;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>The folder of the file that this code was loaded from, by the kernel's word: the loader may know a relative name.</summary>
    /// <returns>null where the code is in no file</returns>
    private static string? LibraryFolder()
    {
        var here = (ulong)(delegate* unmanaged[Cdecl]<void>)&Here;
        foreach (var line in File.ReadLines("/proc/self/maps"))
        {
            if (Covers(line, here) && line.IndexOf('/', StringComparison.Ordinal) is >= 0 and var path)
                return Path.GetDirectoryName(line[path..]);
        }

        return null;
    }

    /// <param name="line">FIRST-END in hexadecimal, and more</param>
    /// <param name="address">what may lie between</param>
    private static bool Covers(string line, ulong address)
    {
        var first = line.IndexOf('-', StringComparison.Ordinal);
        var end = line.IndexOf(' ', StringComparison.Ordinal);
        return first > 0 && end > first && Number(line.AsSpan(0, first)) <= address
            && address < Number(line.AsSpan(first + 1, end - first - 1));
    }

    private static ulong Number(ReadOnlySpan<char> text) =>
        ulong.TryParse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var number) ? number : 0;

    [UnmanagedCallersOnly(CallConvs = [typeof(CallConvCdecl)])]
    private static void Here()
    {
        // Its address is all that is wanted.
    }
}
