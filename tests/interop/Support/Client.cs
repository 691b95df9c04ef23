using System;
using System.Collections.Generic;
using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Clients in Python on libnbd, or on bare sockets: the programs in clients/.</summary>
internal static class Client
{
    private const string Python = "/usr/bin/python3";

    private static readonly Lazy<bool> s_hasLibnbd = new(() => Run.Program(Python, "-c", "import nbd").Status == 0);

    /// <summary>Runs a client; fails the test unless it exits with 0.</summary>
    public static string[] Python3(string program, params string[] arguments) =>
        Start(program, arguments).Wait().Passed().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    public static Running Start(string program, params string[] arguments)
    {
        Assert.SkipUnless(s_hasLibnbd.Value, "no python3-libnbd");
        var path = Path.Combine(AppContext.BaseDirectory, "clients", program);
        return Run.Start(new Dictionary<string, string> { ["PYTHONDONTWRITEBYTECODE"] = "1" }, Python, [path, .. arguments]);
    }
}
