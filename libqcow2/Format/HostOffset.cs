namespace Qcow2Blk.Format;

/// <summary>A byte position in an image file.</summary>
internal readonly record struct HostOffset(long Value)
{
    public override string ToString() => $"0x{Value:x}";

    public static HostOffset operator +(HostOffset left, long right) => new(left.Value + right);
}

/// <summary>A byte position on the virtual disk.</summary>
internal readonly record struct GuestOffset(long Value)
{
    public override string ToString() => $"0x{Value:x}";

    public static GuestOffset operator +(GuestOffset left, long right) => new(left.Value + right);
}
