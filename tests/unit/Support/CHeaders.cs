using System;
using System.Diagnostics;
using System.IO;
using System.Runtime.InteropServices;
using Xunit;

namespace Qcow2Blk.Tests.Support;

/// <summary>Lets a C compiler compare our numbers and layouts with C headers. Without a compiler or a header the test is skipped.</summary>
internal static class CHeaders
{
    /// <summary>The headers that tests/kernel/fetch-headers.sh fetched, newer than the system's; null where it did not run.</summary>
    internal static string? Newest { get; } = FindNewest();

    internal const string NewestMissing = "no newest kernel headers (run tests/kernel/fetch-headers.sh)";

    /// <param name="headers">as in #include, without the brackets</param>
    /// <param name="facts">a constant C expression, and the value it must have</param>
    internal static void AssertInC(string[] headers, params (string Expression, long Value)[] facts) => AssertIn(null, headers, facts);

    /// <summary>The same with <see cref="Newest"/> before the system's headers.</summary>
    internal static void AssertInNewest(string[] headers, params (string Expression, long Value)[] facts)
    {
        Assert.SkipWhen(Newest is null, NewestMissing);
        AssertIn(Newest, headers, facts);
    }

    internal static void AssertOffsets<T>(string[] headers, string type, params string[] fields) =>
        AssertInC(headers, Offsets<T>(type, fields));

    /// <summary>That a C structure has the size and these members where ours has them.</summary>
    internal static (string Expression, long Value)[] Layout<T>(string type, params string[] fields)
        where T : unmanaged =>
        [($"sizeof({type})", System.Runtime.CompilerServices.Unsafe.SizeOf<T>()), .. Offsets<T>(type, fields)];

    internal static long Offset<T>(string field) => Marshal.OffsetOf<T>(field);

    internal static string Assertion(string expression, long value) =>
        $"_Static_assert((long long)({expression}) == {value}LL, \"{expression} is not {value}\");";

    /// <returns>what the compiler complains of; empty if nothing</returns>
    internal static string Compile(string[] headers, string lines, string? directory = null)
    {
        string[] arguments = ["-std=gnu11", "-fsyntax-only", .. directory is null ? Array.Empty<string>() : ["-isystem", directory], "-x",
            "c", "-"];
        var start = new ProcessStartInfo("cc", arguments) { RedirectStandardInput = true, RedirectStandardError = true };
        using var compiler = Process.Start(start)!;
        compiler.StandardInput.Write(
            $"#define _GNU_SOURCE\n#include"
                + $" <stddef.h>\n{string.Concat(Array.ConvertAll(headers, header => $"#include <{header}>\n"))}{lines}\n");
        compiler.StandardInput.Close();
        var errors = compiler.StandardError.ReadToEnd();
        compiler.WaitForExit();
        return errors;
    }

    private static (string Expression, long Value)[] Offsets<T>(string type, string[] fields) =>
        Array.ConvertAll(fields, field => ($"offsetof({type}, {field})", Offset<T>(field)));

    private static void AssertIn(string? directory, string[] headers, (string Expression, long Value)[] facts)
    {
        Assert.SkipUnless(File.Exists("/usr/bin/cc"), "no C compiler");
        foreach (var header in headers)
            Assert.SkipUnless(Compile([header], "", directory).Length == 0, $"no <{header}>");
        Assert.Equal("",
            Compile(headers, string.Join('\n', Array.ConvertAll(facts, fact => Assertion(fact.Expression, fact.Value))), directory));
    }

    private static string? FindNewest()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (!File.Exists(Path.Combine(folder.FullName, "Qcow2Aot.sln")))
                continue;
            var headers = Path.Combine(folder.FullName, "artifacts", "kernel", "include");
            return File.Exists(Path.Combine(headers, "VERSION")) ? headers : null;
        }

        return null;
    }
}
