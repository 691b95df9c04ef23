using System;
using System.Text;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>What a query of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT stands for ("Metadata querying").</summary>
/// <remarks>
/// The contexts of an export are bits: those of <see cref="MetaContextKind"/>, and from <see cref="MetaContextKind.QemuDirtyBitmap"/>
/// on one for each of its bitmaps. The bit's number names the context in replies; qemu-nbd uses the same.
/// </remarks>
internal static class MetaContextQuery
{
    public const int BaseAllocationBit = 1 << (int)MetaContextKind.BaseAllocation;

    public const int QemuAllocationDepthBit = 1 << (int)MetaContextKind.QemuAllocationDepth;

    private const int FirstBitmap = (int)MetaContextKind.QemuDirtyBitmap;

    private const string BitmapPrefix = "qemu:dirty-bitmap:";

    /// <summary>Every context of an export.</summary>
    public static int AllOf(ExportInfo export) => (1 << CountOf(export)) - 1;

    /// <summary>How many contexts an export has.</summary>
    public static int CountOf(ExportInfo export) => FirstBitmap + export.Bitmaps.Count;

    /// <summary>The contexts that a query selects; 0 for what is not known here, which the specification says to ignore.</summary>
    /// <param name="query">namespace, colon, leaf name</param>
    /// <param name="export">whose contexts they are</param>
    /// <param name="wildcards">
    /// "base:", "qemu:" and "qemu:dirty-bitmap:" stand for all that begin so: when listing, not when setting
    /// </param>
    public static int Match(ReadOnlySpan<byte> query, ExportInfo export, bool wildcards)
    {
        var isWildcard = wildcards && (query.SequenceEqual("base:"u8) || query.SequenceEqual("qemu:"u8)
            || query.SequenceEqual("qemu:dirty-bitmap:"u8));
        var matches = 0;
        for (var number = 0; number < CountOf(export); number++)
        {
            var name = Encoding.UTF8.GetBytes(NameOf(number, export)).AsSpan();
            if (isWildcard ? name.StartsWith(query) : name.SequenceEqual(query))
                matches |= 1 << number;
        }

        return matches;
    }

    public static string NameOf(int number, ExportInfo export) => number switch
    {
        (int)MetaContextKind.BaseAllocation => "base:allocation",
        (int)MetaContextKind.QemuAllocationDepth => "qemu:allocation-depth",
        _ => BitmapPrefix + export.Bitmaps[number - FirstBitmap],
    };

    public static NegotiatedContext ContextOf(int number, ExportInfo export) => number < FirstBitmap
        ? new NegotiatedContext((uint)number, (MetaContextKind)number)
        : new NegotiatedContext((uint)number, MetaContextKind.QemuDirtyBitmap) { Bitmap = export.Bitmaps[number - FirstBitmap] };
}
