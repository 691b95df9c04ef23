namespace Qcow2Blk.Exports.Traffic;

/// <summary>One request that has ended.</summary>
/// <param name="Operation">what it asked for</param>
/// <param name="Way">how it was served</param>
/// <param name="Waits">what it waited for</param>
/// <param name="Loop">number of the loop that it came to</param>
/// <param name="Error">positive errno; 0 if it was done</param>
/// <param name="Offset">where on the disk, in bytes</param>
/// <param name="Length">bytes that it was for</param>
/// <param name="Started">when it came, in ticks of the stopwatch</param>
/// <param name="Ticks">how long it took until its answer was on the way</param>
internal readonly record struct TraceRecord(
    RequestOperation Operation, RequestWay Way, RequestWaits Waits, ushort Loop, int Error, long Offset, long Length, long Started,
    long Ticks);
