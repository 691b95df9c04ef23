using System;
using System.IO;
using System.Runtime.CompilerServices;

namespace Qcow2Blk.Tests.Support;

/// <summary>The cache of bases that tests use which name none, and what they start: not that of the machine.</summary>
internal static class OwnCache
{
    [ModuleInitializer]
    internal static void Use()
    {
        var directory = Path.Combine(Path.GetTempPath(), $"qcow2blk-test-cache-{Environment.ProcessId}");
        Environment.SetEnvironmentVariable("QCOW2BLK_CACHE_DIR", directory);
        AppDomain.CurrentDomain.ProcessExit += (_, _) =>
        {
            if (Directory.Exists(directory))
                Directory.Delete(directory, recursive: true);
        };
    }
}
