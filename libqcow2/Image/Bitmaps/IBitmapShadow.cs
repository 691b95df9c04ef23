using System;
using System.Collections.Generic;

namespace Qcow2Blk.Image.Bitmaps;

/// <summary>Memory that outlives the process, for the bits of those bitmaps that record.</summary>
internal interface IBitmapShadow : IDisposable
{
    /// <summary>The bits that a dead server left, exact to its last write, if they are proven to be of this image as it is.</summary>
    /// <returns>the bits of each; null if there are none, or not of each</returns>
    IReadOnlyList<BitmapMemory>? TakeLeft(IReadOnlyList<StoredBitmap> bitmaps);

    /// <summary>Makes room for the bits of each, all 0.</summary>
    /// <returns>null if there is none: then they do not outlive the process, and what is on disk has to do</returns>
    IReadOnlyList<BitmapMemory>? MakeFor(IReadOnlyList<StoredBitmap> bitmaps);

    /// <summary>From now on the bits are those of the image that this proves, with this mark in its header.</summary>
    void Bind(ReadOnlySpan<byte> proof, byte mark);
}
