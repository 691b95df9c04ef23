using System;
using System.Buffers.Binary;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Check;

/// <summary>
/// Makes the refcounts true again from what the image refers to: what attach does for the dirty bit (lazy refcounts),
/// as qemu does. The power may go at any step: the old structures stay in force until one write of the header
/// switches to the new ones, and the dirty bit goes last.
/// </summary>
internal sealed class RefcountRebuild
{
    private const int Chunk = 1 << 20;
    private const string Repairing = "repairing";

    // Header fields (spec, "Header"): refcount_table_offset and _clusters are neighbours and change in one write.
    private const int RefcountTableField = 48;
    private const int IncompatibleField = 72;
    private const ulong DirtyBit = 1;

    private readonly IBlockStorage _file;
    private readonly CheckedHeader _header;
    private readonly ReferenceCounts _counts;
    private readonly RefcountPlacement _placement;
    private readonly Action<double> _progress;

    private RefcountRebuild(IBlockStorage file, CheckedHeader header, ReferenceCounts counts, Action<double> progress)
    {
        _progress = progress;
        _file = file;
        _header = header;
        _counts = counts;
        var start = FindPlace(file, header, counts);
        _placement = new RefcountPlacement(counts, start >> header.ClusterBits, header.RefcountBlockEntries, header.ClusterSize);
    }

    /// <summary>Rebuilds the refcounts of a file that nobody else uses, then clears the dirty bit.</summary>
    /// <param name="file">the image file</param>
    /// <param name="path">for messages</param>
    /// <param name="progress">hears how far it is: all L2 tables are read twice</param>
    /// <returns>0 or a negative errno; the image is still dirty then, and can be tried again</returns>
    /// <exception cref="ImageFormatException">the image is damaged in a way that new refcounts do not mend</exception>
    public static async LoopTask<int> RunAsync(IBlockStorage file, string path, Action<string, double>? progress = null)
    {
        ArgumentNullException.ThrowIfNull(file);
        var result = new CheckResult();
        var header = await ImageChecker.ReadHeaderAsync(file, result);
        if (result.ReadError < 0)
            return result.ReadError;
        if (header is null)
            throw Unrepairable(path, result);

        // Holes are left out below, and what its last writer left in the page cache must not look like one: there were file
        // systems that knew of such data only after a sync.
        var error = await file.FlushAsync();
        if (error < 0)
            return error;
        var counts = new ReferenceCounts(result, header.ClusterBits, file.Length);
        var tables = new ClusterTables(file, header, counts, result)
        {
            Progress = fraction => progress?.Invoke(Repairing, fraction / 2),
        };
        error = await ImageChecker.CountAsync(file, header, counts, result, tables);
        if (error < 0)
            return error;
        RefuseOverflow(header, counts, result);
        if (result.Errors > 0)
            throw Unrepairable(path, result);
        var rebuild = new RefcountRebuild(file, header, counts, fraction => progress?.Invoke(Repairing, 0.5 + (fraction / 2)));
        rebuild.RefuseLargeTable(result);
        return result.Errors > 0 ? throw Unrepairable(path, result) : await rebuild.WriteAsync(tables);
    }

    /// <summary>
    /// Behind the end of the file, or, if it ends with a hole, behind the last cluster in use: a file that is already as long as
    /// the file system has it can be repaired too. Nothing is lost in a hole but refcounts of 0, which are not believed.
    /// </summary>
    private static long FindPlace(IBlockStorage file, CheckedHeader header, ReferenceCounts counts)
    {
        var unit = Math.Max(header.ClusterSize, file.OffsetAlignment);
        var used = header.RefcountTableOffset + ((long)header.RefcountTableClusters << header.ClusterBits);
        foreach (var cluster in counts.Referenced())
            used = Math.Max(used, (cluster + 1L) << header.ClusterBits);
        used = Rounding.Up(used, unit);
        return used < file.Length && file.FindRange(used) is { IsHole: true, End: long.MaxValue } ? used : Rounding.Up(file.Length, unit);
    }

    private static ImageFormatException Unrepairable(string path, CheckResult result) =>
        new(path, "incompatible_features",
            $"image was not closed cleanly and cannot be repaired: {result.Findings[0].Message} (try qemu-img check -r all on a copy)");

    private static void RefuseOverflow(CheckedHeader header, ReferenceCounts counts, CheckResult result)
    {
        foreach (var cluster in counts.Referenced())
        {
            if ((ulong)counts[cluster] > header.RefcountMaximum)
            {
                result.Error(CheckSubject.Refcount, (long)cluster << header.ClusterBits,
                    $"cluster 0x{(long)cluster << header.ClusterBits:x} has {counts[cluster]} references, more than a refcount can hold");
            }
        }
    }

    /// <summary>A table that nobody would open afterwards must not be made.</summary>
    private void RefuseLargeTable(CheckResult result)
    {
        var bytes = _placement.TableClusters << _header.ClusterBits;
        if (bytes > Limits.MaxRefcountTableBytes)
        {
            result.Error(CheckSubject.RefcountTable, 0,
                $"a refcount table for what is used would have {bytes} bytes, more than {Limits.MaxRefcountTableBytes}");
        }
    }

    private async LoopTask<int> WriteAsync(ClusterTables tables)
    {
        var error = await WriteStructuresAsync();
        if (error >= 0)
            error = await _file.FlushAsync();
        if (error >= 0)
            error = await SwitchHeaderAsync();
        if (error >= 0)
            error = await _file.FlushAsync();
        if (error >= 0)
            error = await new CopiedFlags(_file, _header, _counts).CorrectAsync(tables, _progress);
        if (error >= 0)
            error = await _file.FlushAsync();
        if (error < 0 || !_header.Dirty)
            return error;
        error = await ClearDirtyAsync();
        return error < 0 ? error : await _file.FlushAsync();
    }

    /// <summary>Blocks and table lie in one run behind the end of the file: written in order, padded to the alignment.</summary>
    private async LoopTask<int> WriteStructuresAsync()
    {
        using var buffer = new TableBuffer(Chunk);
        var total = _placement.Clusters << _header.ClusterBits;
        var start = _placement.Start << _header.ClusterBits;
        var piece = Math.Min(_header.ClusterSize, Chunk);
        for (long done = 0; done < total;)
        {
            var filled = 0;
            for (; filled < Chunk && done + filled < total; filled += piece)
                Fill(buffer.Span.Slice(filled, piece), done + filled);
            var length = (filled + _file.OffsetAlignment - 1) / _file.OffsetAlignment * _file.OffsetAlignment;
            buffer.Span[filled..length].Clear();
            var error = await _file.WriteAsync(start + done, buffer.Take(length));
            if (error < 0)
                return error;
            done += filled;
        }

        return 0;
    }

    /// <summary>The bytes of the run at <paramref name="at"/>: part of a block or of the table.</summary>
    private void Fill(Span<byte> piece, long at)
    {
        piece.Clear();
        var index = at >> _header.ClusterBits;
        var within = at & (_header.ClusterSize - 1);
        if (index < _placement.Blocks.Count)
            FillBlock(piece, _placement.Blocks[(int)index] * _header.RefcountBlockEntries + (within * 8 >> _header.RefcountOrder));
        else
            FillTable(piece, (at - ((long)_placement.Blocks.Count << _header.ClusterBits)) / 8);
    }

    private void FillBlock(Span<byte> piece, long firstCluster)
    {
        var entries = (int)((long)piece.Length * 8 >> _header.RefcountOrder);
        for (var index = 0; index < entries; index++)
        {
            var refcount = _placement.RefcountOf(firstCluster + index);
            if (refcount != 0)
                RefcountEntries.Set(piece, index, _header.RefcountOrder, (ulong)refcount);
        }
    }

    private void FillTable(Span<byte> piece, long firstEntry)
    {
        for (var position = _placement.Blocks.BinarySearch(firstEntry) is var found && found < 0 ? ~found
            : found; position < _placement.Blocks.Count; position++)
        {
            var entry = _placement.Blocks[position] - firstEntry;
            if (entry >= piece.Length / 8)
                return;
            BinaryPrimitives.WriteInt64BigEndian(piece[(int)(entry * 8)..], (_placement.Start + position) << _header.ClusterBits);
        }
    }

    private LoopTask<int> SwitchHeaderAsync()
    {
        var fields = new byte[12];
        BinaryPrimitives.WriteInt64BigEndian(fields, _placement.TableStart << _header.ClusterBits);
        BinaryPrimitives.WriteUInt32BigEndian(fields.AsSpan(8), checked((uint)_placement.TableClusters));
        return AlignedPatch.WriteAsync(_file, RefcountTableField, fields);
    }

    private LoopTask<int> ClearDirtyAsync()
    {
        var field = new byte[8];
        BinaryPrimitives.WriteUInt64BigEndian(field, _header.Incompatible & ~DirtyBit);
        return AlignedPatch.WriteAsync(_file, IncompatibleField, field);
    }
}
