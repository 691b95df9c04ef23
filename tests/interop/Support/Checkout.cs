using System;
using System.IO;

namespace Qcow2Blk.Tests.Interop;

/// <summary>The checkout that the tests were built from.</summary>
internal static class Checkout
{
    /// <summary>A text of the checkout.</summary>
    /// <param name="path">relative to its root</param>
    public static string Read(string path) => File.ReadAllText(Path.Combine(Root(), path));

    private static string Root()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Qcow2Aot.sln")))
                return folder.FullName;
        }

        throw new DirectoryNotFoundException("no checkout above the tests");
    }
}
