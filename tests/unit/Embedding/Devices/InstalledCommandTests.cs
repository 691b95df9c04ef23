using System;
using System.IO;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Embedding.Devices;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Embedding.Devices;

/// <summary>The program that serves block devices is the one that was installed with the library.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
public sealed class InstalledCommandTests : IDisposable
{
    private readonly TempDirectory _prefix = new();

    public void Dispose() => _prefix.Dispose();

    private string Install(string path, bool isProgram = true)
    {
        var full = _prefix.File(path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.WriteAllText(full, "");
        File.SetUnixFileMode(full, isProgram ? (UnixFileMode)0b111_101_101 : (UnixFileMode)0b110_100_100);
        return full;
    }

    [Theory]
    [InlineData("lib", "bin/qcow2blk")]
    [InlineData("lib/x86_64-linux-gnu", "bin/qcow2blk")]
    [InlineData("artifacts", "artifacts/qcow2blk")]
    public void It_is_found_from_the_folder_of_the_library(string library, string command)
    {
        Directory.CreateDirectory(_prefix.File(library));
        var path = Install(command);
        var program = InstalledCommand.Find(_prefix.File(library));
        Assert.Equal((path, true), (program.Path, program.IsSilent));
    }

    [Fact]
    public void Refusal_says_where_it_was_looked_for()
    {
        if (File.Exists("/usr/bin/qcow2blk") || File.Exists("/usr/local/bin/qcow2blk"))
            return; // It is found there: nothing is refused.
        Install("bin/qcow2blk", isProgram: false);
        var refused = Assert.Throws<OutcomeException>(() => InstalledCommand.Find(_prefix.File("lib")));
        Assert.Contains(_prefix.File("bin"), refused.Why, StringComparison.Ordinal);
        Assert.Contains("/usr/bin", refused.Why, StringComparison.Ordinal);
    }
}
