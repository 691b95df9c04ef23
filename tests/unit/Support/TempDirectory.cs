using System;
using System.IO;

namespace Qcow2Blk.Tests.Support;

/// <summary>A directory of one test's own, gone when the test ends.</summary>
internal sealed class TempDirectory : IDisposable
{
    public TempDirectory() => Path = Directory.CreateTempSubdirectory("qcow2blk-test-").FullName;

    public string Path { get; }

    /// <summary>The path of a file in it.</summary>
    public string File(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose()
    {
        try
        {
            Directory.Delete(Path, recursive: true);
        }
        catch (IOException)
        {
            // Left behind in the temporary directory; no reason to fail a test that passed.
        }
    }
}
