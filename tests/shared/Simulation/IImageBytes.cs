using System;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Tests.Shared.Simulation;

/// <summary>The bytes of an image file for those that only look: the checker, and readers of crash images.</summary>
internal interface IImageBytes
{
    /// <summary>Bytes in the file.</summary>
    long Length { get; }

    /// <summary>Fills <paramref name="into"/>; what lies past the end of the file reads as zeroes.</summary>
    void Read(long offset, Span<byte> into);

    /// <summary>As <see cref="IBlockStorage.FindRange"/>; data where the bytes do not know better.</summary>
    FileRange FindRange(long offset) => FileRange.DataToTheEnd;
}
