namespace Qcow2Blk.Format;

/// <summary>A byte position on the virtual disk.</summary>
internal readonly record struct GuestOffset(long Value)
{
    public override string ToString() => $"0x{Value:x}";

    public static GuestOffset operator +(GuestOffset left, long right) => new(left.Value + right);

    public static GuestOffset operator -(GuestOffset left, long right) => new(left.Value - right);

    /// <summary>How many bytes lie between two.</summary>
    public static long operator -(GuestOffset left, GuestOffset right) => left.Value - right.Value;

    public static bool operator <(GuestOffset left, GuestOffset right) => left.Value < right.Value;

    public static bool operator >(GuestOffset left, GuestOffset right) => left.Value > right.Value;

    public static bool operator <=(GuestOffset left, GuestOffset right) => left.Value <= right.Value;

    public static bool operator >=(GuestOffset left, GuestOffset right) => left.Value >= right.Value;

    public static GuestOffset Min(GuestOffset left, GuestOffset right) => left <= right ? left : right;

    public static GuestOffset Max(GuestOffset left, GuestOffset right) => left >= right ? left : right;

    /// <param name="unit">a power of two</param>
    public GuestOffset RoundDown(long unit) => new(Rounding.Down(Value, unit));

    /// <param name="unit">a power of two</param>
    public GuestOffset RoundUp(long unit) => new(Rounding.Up(Value, unit));
}
