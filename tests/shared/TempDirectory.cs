using System;
using System.IO;

namespace Qcow2Blk.Tests.Shared;

/// <summary>A directory for the files of one test; gone when the test ends.</summary>
internal sealed class TempDirectory : IDisposable
{
    private readonly string _path = Directory.CreateTempSubdirectory("qcow2blk-test-").FullName;

    public string File(string name) => Path.Combine(_path, name);

    public void Dispose() => Directory.Delete(_path, recursive: true);
}
