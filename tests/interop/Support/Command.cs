using System;
using System.Collections.Generic;
using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>The native binary that users get.</summary>
internal static class Command
{
    private static readonly Lazy<string> s_path = new(Find);

    public static string Path => s_path.Value;

    public static Outcome Qcow2Blk(this Folder folder, params string[] arguments) => folder.StartQcow2Blk(arguments).Wait();

    public static Running StartQcow2Blk(this Folder folder, params string[] arguments) => Run.Start(Environment(folder), Path, arguments);

    /// <summary>Devices and caches of the machine stay as they are.</summary>
    public static Dictionary<string, string> Environment(Folder folder) => new()
    {
        ["QCOW2BLK_RUNTIME_DIR"] = folder.RuntimeDirectory,
        ["QCOW2BLK_CACHE_DIR"] = folder.File("cache"),
    };

    private static string Find()
    {
        if (System.Environment.GetEnvironmentVariable("QCOW2BLK_BINARY") is { Length: > 0 } named)
            return named;
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var binary = System.IO.Path.Combine(folder.FullName, "artifacts", "qcow2blk");
            if (File.Exists(binary))
                return binary;
        }

        Assert.Skip("no artifacts/qcow2blk: run \"make build\"");
        return "";
    }
}
