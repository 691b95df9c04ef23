using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Storage;

/// <summary>
/// What every caller of an <see cref="IBlockStorage"/> keeps to: asked before an operation begins, on the caller's stack.
/// </summary>
internal static class TransferRules
{
    /// <exception cref="InvariantBreach">the read cannot be meant</exception>
    public static void RequireRead(long offset, NativeBuffer buffer) => RequirePlace(offset, buffer.Length, buffer.Address);

    /// <exception cref="InvariantBreach">the write cannot be meant, or the file does not take it</exception>
    public static void RequireWrite(IBlockStorage file, long offset, NativeBuffer buffer)
    {
        RequirePlace(offset, buffer.Length, buffer.Address);
        RequireWritable(file, offset);
        Invariant.Holds(
            ((offset | (uint)buffer.Length) & (file.OffsetAlignment - 1)) == 0, "a write is whole units of the file", offset,
            buffer.Length);
    }

    /// <summary>A range that is punched or zeroed.</summary>
    /// <exception cref="InvariantBreach">it cannot be meant</exception>
    public static void RequireRange(IBlockStorage file, long offset, long length)
    {
        Invariant.Holds(
            offset >= 0 && length > 0 && offset <= long.MaxValue - length, "a range that is freed or zeroed is in a file", offset, length);
        RequireWritable(file, offset);
    }

    /// <exception cref="InvariantBreach">the length cannot be meant</exception>
    public static void RequireLength(IBlockStorage file, long length)
    {
        Invariant.Holds(length >= 0, "a file has no negative length", length);
        RequireWritable(file, length);
    }

    private static void RequirePlace(long offset, int length, nint address)
    {
        Invariant.Holds(offset >= 0 && offset <= long.MaxValue - length, "a transfer begins in a file", offset, length);
        Invariant.Holds(length >= 0 && (address != 0 || length == 0), "a transfer has memory of its length", address, length);
    }

    private static void RequireWritable(IBlockStorage file, long offset) =>
        Invariant.Holds(!file.ReadOnly, "a file that was opened for reading is not changed", offset);
}
