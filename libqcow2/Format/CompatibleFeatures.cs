using System;

namespace Qcow2Blk.Format;

/// <summary>Header bytes 80 to 87: "An implementation can safely ignore any unknown bits that are set." They are kept.</summary>
[Flags]
internal enum CompatibleFeatures : ulong
{
    None = 0,

    /// <summary>Bit 0. Refcount updates may be postponed by setting the dirty bit first.</summary>
    LazyRefcounts = 1,

    /// <summary>Every bit that has a meaning.</summary>
    Known = LazyRefcounts,
}
