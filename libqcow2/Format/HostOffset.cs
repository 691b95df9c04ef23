namespace Qcow2Blk.Format;

/// <summary>A byte position in an image file, or in its data file.</summary>
internal readonly record struct HostOffset(long Value)
{
    public override string ToString() => $"0x{Value:x}";

    public static HostOffset operator +(HostOffset left, long right) => new(left.Value + right);

    public static HostOffset operator -(HostOffset left, long right) => new(left.Value - right);

    public static bool operator <(HostOffset left, HostOffset right) => left.Value < right.Value;

    public static bool operator >(HostOffset left, HostOffset right) => left.Value > right.Value;

    public static bool operator <=(HostOffset left, HostOffset right) => left.Value <= right.Value;

    public static bool operator >=(HostOffset left, HostOffset right) => left.Value >= right.Value;
}
