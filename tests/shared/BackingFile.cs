using System;
using Qcow2Blk.Tests.Shared.Simulation;

namespace Qcow2Blk.Tests.Shared;

/// <summary>The file of an image below another: it could be written, and whatever is done to it but reading ends the test.</summary>
internal static class BackingFile
{
    public static MemoryStorage Open(SimulatedLoop loop, SparseBytes content, string path = "backing") => new(loop, content)
    {
        Path = path,
        Fault = static operation => operation.Kind == StorageOperationKind.Read ? 0
            : throw new InvalidOperationException($"{operation.Kind} of {operation.Length} bytes at {operation.Offset} of a backing file"),
    };
}
