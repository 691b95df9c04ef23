namespace Qcow2Blk.Exports.Traffic;

/// <summary>What a request does, as counters tell requests apart.</summary>
internal enum IoKind
{
    Read,
    Write,

    /// <summary>Flushes, discards, writes of zeroes, questions.</summary>
    Other,
}
