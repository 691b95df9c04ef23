namespace Qcow2Blk.Format;

/// <summary>A cluster of an image file, or of its data file: its offset there, counted in clusters.</summary>
internal readonly record struct HostCluster(long Number)
{
    public override string ToString() => $"{Number}";

    public static HostCluster operator +(HostCluster left, long right) => new(left.Number + right);

    /// <summary>How many clusters lie between two.</summary>
    public static long operator -(HostCluster left, HostCluster right) => left.Number - right.Number;

    public static HostCluster operator ++(HostCluster cluster) => cluster + 1;

    public static HostCluster operator --(HostCluster cluster) => cluster + -1;

    public static bool operator <(HostCluster left, HostCluster right) => left.Number < right.Number;

    public static bool operator >(HostCluster left, HostCluster right) => left.Number > right.Number;

    public static bool operator <=(HostCluster left, HostCluster right) => left.Number <= right.Number;

    public static bool operator >=(HostCluster left, HostCluster right) => left.Number >= right.Number;
}
