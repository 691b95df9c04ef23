using System;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>What a query of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT stands for ("Metadata querying").</summary>
internal static class MetaContextQuery
{
    public const int BaseAllocationBit = 1 << (int)MetaContextKind.BaseAllocation;

    public const int QemuAllocationDepthBit = 1 << (int)MetaContextKind.QemuAllocationDepth;

    public const int All = BaseAllocationBit | QemuAllocationDepthBit;

    /// <summary>
    /// The contexts that a query selects, as bits of <see cref="MetaContextKind"/>; 0 for what is not known here, which
    /// the specification says to ignore.
    /// </summary>
    /// <param name="query">namespace, colon, leaf name</param>
    /// <param name="wildcards">"base:" and "qemu:" stand for all of a namespace: when listing, not when setting</param>
    public static int Match(ReadOnlySpan<byte> query, bool wildcards)
    {
        if (query.SequenceEqual(NameOf(MetaContextKind.BaseAllocation)))
            return BaseAllocationBit;
        if (query.SequenceEqual(NameOf(MetaContextKind.QemuAllocationDepth)))
            return QemuAllocationDepthBit;
        if (!wildcards)
            return 0;
        if (query.SequenceEqual("base:"u8))
            return BaseAllocationBit;
        return query.SequenceEqual("qemu:"u8) ? QemuAllocationDepthBit : 0;
    }

    public static ReadOnlySpan<byte> NameOf(MetaContextKind kind) => kind switch
    {
        MetaContextKind.BaseAllocation => "base:allocation"u8,
        MetaContextKind.QemuAllocationDepth => "qemu:allocation-depth"u8,
        _ => throw new ArgumentOutOfRangeException(nameof(kind)),
    };

    /// <summary>The number of a context in replies; qemu-nbd uses the same.</summary>
    public static uint IdOf(MetaContextKind kind) => (uint)kind;
}
