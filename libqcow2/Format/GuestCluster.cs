namespace Qcow2Blk.Format;

/// <summary>A cluster of the virtual disk: its offset there, counted in clusters.</summary>
internal readonly record struct GuestCluster(long Number)
{
    public override string ToString() => $"{Number}";

    public static GuestCluster operator +(GuestCluster left, long right) => new(left.Number + right);

    /// <summary>How many clusters lie between two.</summary>
    public static long operator -(GuestCluster left, GuestCluster right) => left.Number - right.Number;

    public static GuestCluster operator ++(GuestCluster cluster) => cluster + 1;

    public static bool operator <(GuestCluster left, GuestCluster right) => left.Number < right.Number;

    public static bool operator >(GuestCluster left, GuestCluster right) => left.Number > right.Number;

    public static bool operator <=(GuestCluster left, GuestCluster right) => left.Number <= right.Number;

    public static bool operator >=(GuestCluster left, GuestCluster right) => left.Number >= right.Number;
}
