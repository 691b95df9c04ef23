using System;

namespace Qcow2Blk.Format;

/// <summary>
/// Sizes and offsets as multiples of a unit. What cannot be said in 63 bits is an error, never a negative number:
/// sizes come from files, sockets and command lines.
/// </summary>
internal static class Rounding
{
    /// <summary>The least multiple of <paramref name="unit"/> that is not below <paramref name="value"/>.</summary>
    /// <param name="value">bytes, not negative</param>
    /// <param name="unit">a power of two</param>
    /// <exception cref="OverflowException">there is no such multiple below 2^63</exception>
    public static long Up(long value, long unit) => checked(value + (unit - 1)) & -unit;

    /// <summary>The greatest multiple of <paramref name="unit"/> that is not above <paramref name="value"/>.</summary>
    /// <param name="value">bytes, not negative</param>
    /// <param name="unit">a power of two</param>
    public static long Down(long value, long unit) => value & -unit;
}
