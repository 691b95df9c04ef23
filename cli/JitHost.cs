using System;
using System.Collections.Generic;
using System.IO;

namespace Qcow2Blk.Cli;

/// <summary>Whether <c>dotnet qcow2blk.dll</c> was run: then the program is the host, and its argument is us.</summary>
internal static class JitHost
{
    internal static IReadOnlyList<string> Arguments =>
        Path.GetFileName(Environment.ProcessPath) == "dotnet" ? [Path.Combine(AppContext.BaseDirectory, "qcow2blk.dll")] : [];
}
