namespace Qcow2Blk.Storage;

/// <summary>What a file holds from some offset on.</summary>
/// <param name="IsHole">nothing is stored there, so that it reads as zeroes</param>
/// <param name="End">where that ends: above the offset; <see cref="long.MaxValue"/> if it does not change any more</param>
/// <param name="Seeks">system calls that the answer took: 0, 1 or 2</param>
internal readonly record struct FileRange(bool IsHole, long End, int Seeks)
{
    /// <summary>What is said of a file that cannot be asked.</summary>
    public static FileRange DataToTheEnd => new(IsHole: false, long.MaxValue, Seeks: 0);
}
