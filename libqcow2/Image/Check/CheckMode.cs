namespace Qcow2Blk.Image.Check;

/// <summary>What a check may change.</summary>
internal enum CheckMode
{
    /// <summary>Nothing.</summary>
    Report,

    /// <summary>Only refcounts that are too high: nothing that is in use can be lost by it.</summary>
    Leaks,

    /// <summary>Everything that can be repaired.</summary>
    All,
}
