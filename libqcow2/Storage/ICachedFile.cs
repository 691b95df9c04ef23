namespace Qcow2Blk.Storage;

/// <summary>
/// A file that holds parts of a storage at the same offsets, for as long as nobody needs their room: whoever reads a part straight
/// from the file asks before, and again after, whether it was there all the time. Any thread.
/// </summary>
internal interface ICachedFile
{
    FileStorage File { get; }

    /// <summary>Whether all of the range is in the file, and was found to be what had been stored.</summary>
    /// <param name="offset">in bytes</param>
    /// <param name="length">in bytes, more than 0</param>
    /// <param name="mark">for <see cref="IsStill"/></param>
    bool IsThere(long offset, int length, out ulong mark);

    /// <summary>
    /// Whether the range has been in the file since <see cref="IsThere"/> gave the mark: what was read in between is right.
    /// </summary>
    bool IsStill(long offset, int length, ulong mark);
}
