using System;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Image.Tables;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Opening;

/// <summary>From a file to an open image: everything the header and tables say is checked against the file before it is used.</summary>
internal static class ImageOpener
{
    /// <summary>Opens the image in <paramref name="file"/>, which belongs to the image from then on.</summary>
    /// <param name="file">the image file; opened for writing unless the options say read-only</param>
    /// <param name="options">how to serve it</param>
    /// <param name="backing">the opened backing image, or null to read zeroes in its place</param>
    /// <param name="data">the external data file, or what encrypts guest clusters; null if they are in the image file as they are</param>
    /// <exception cref="ImageFormatException">the image is damaged or needs what is not supported</exception>
    /// <exception cref="IOException">the file cannot be read</exception>
    public static async LoopTask<Qcow2Image> OpenAsync(IBlockStorage file, ImageOptions options, IDisk? backing, IBlockStorage? data = null)
    {
        var readOnly = options.ReadOnly || options.Snapshot is not null;
        var header = await ReadHeaderAsync(file);
        header.RefuseUnsupported(forWriting: !readOnly);
        var left = readOnly ? null : LogStart.OpenLeft(file, header, options);
        try
        {
            return await OpenAsync(file, header, options, backing, data, left);
        }
        catch
        {
            left?.Dispose();
            throw;
        }
    }

    /// <param name="file">the image file</param>
    /// <param name="header">its header, supported</param>
    /// <param name="options">how to serve it</param>
    /// <param name="backing">the opened backing image, or null</param>
    /// <param name="data">where guest clusters are, or null</param>
    /// <param name="left">what a dead server left; belongs to the image if this succeeds</param>
    private static async LoopTask<Qcow2Image> OpenAsync(
        IBlockStorage file, Header header, ImageOptions options, IDisk? backing, IBlockStorage? data, RecoveryLog? left)
    {
        var readOnly = options.ReadOnly || options.Snapshot is not null;
        if (!readOnly && header.ClusterSize < file.OffsetAlignment)
        {
            throw new ImageFormatException(file.Path, "cluster_bits",
                $"clusters of {header.ClusterSize} bytes are smaller than the sectors of the device ({file.OffsetAlignment} bytes)");
        }

        if (!readOnly && (header.Incompatible & IncompatibleFeatures.Dirty) != 0)
        {
            options.Report?.Invoke($"{file.Path} was not closed cleanly: rebuilding its refcounts");
            Require(file, "repair", await RefcountRebuild.RunAsync(file, file.Path, options.Progress));
            header = await ReadHeaderAsync(file);
        }

        if (header.CryptMethod != 0 && data is null)
            throw new ImageFormatException(file.Path, "crypt_method", "the image is encrypted, and nothing decrypts it");
        header.CheckAgainstFile(file.Length);
        var (error, headerBlock) = await HeaderBlock.LoadAsync(file);
        Require(file, "header", error);
        var context = new ImageContext(file, header, headerBlock!, data) { Report = options.Report };
        headerBlock!.SyncFailed = context.SyncFailed;
        MetadataTable? l1 = null;
        MetadataTable? refcountTable = null;
        Qcow2Image image;
        try
        {
            var (l1Offset, l1Size, size) = await ChooseStateAsync(file, header, options.Snapshot);
            l1 = await LoadTableAsync(context, "L1 table", l1Offset, l1Size);
            if (!readOnly)
            {
                var entries = (int)((long)header.RefcountTableClusters * header.ClusterSize / sizeof(ulong));
                refcountTable = await LoadTableAsync(context, "refcount table", header.RefcountTableOffset, entries);
                var (snapshots, snapshotTableBytes) = await ReadSnapshotTableAsync(file, header);
                foreach (var entry in snapshots)
                    entry.CheckL1(header, file.Length);
                context.Metadata = MetadataMap.Build(context, l1, refcountTable, snapshots, snapshotTableBytes);
            }

            image = new Qcow2Image(context, options, l1, refcountTable, backing, size);
        }
        catch
        {
            l1?.Dispose();
            refcountTable?.Dispose();
            headerBlock!.Dispose();
            throw;
        }

        // Whoever opened the file has it back if this fails.
        var started = await image.StartAsync(left);
        if (started < 0)
        {
            await image.AbandonAsync();
            Require(file, "recovery log", started);
        }

        return image;
    }

    /// <summary>Reads and parses the header; nothing else of the file is believed yet.</summary>
    public static async LoopTask<Header> ReadHeaderAsync(IBlockStorage file)
    {
        const int probe = 4096;
        var pool = LoopScheduler.Current.Buffers;
        var length = (int)Math.Min(file.Length, probe);
        if (length < Header.V2Length)
        {
            throw await ForeignFile.NameAsync(file)
                ?? new ImageFormatException(file.Path, "magic", $"the file has {file.Length} bytes: too short for a qcow2 header");
        }

        var start = pool.Rent(length);
        try
        {
            Require(file, "header", await file.ReadAsync(0, start));

            // The header ends with the first cluster: read the rest of it only if the field is sane.
            var clusterBits = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(start.Span[HeaderField.ClusterBits..]);
            if (clusterBits is >= Limits.MinClusterBits and <= Limits.MaxClusterBits && 1 << (int)clusterBits > length)
            {
                pool.Return(start);
                start = pool.Rent((int)Math.Min(file.Length, 1 << (int)clusterBits));
                Require(file, "header", await file.ReadAsync(0, start));
            }

            return Header.Parse(start.Span, file.Path);
        }
        catch (ImageFormatException error) when (ForeignFile.MayBe(error))
        {
            throw await ForeignFile.NameAsync(file) ?? error;
        }
        finally
        {
            pool.Return(start);
        }
    }

    /// <summary>The internal snapshots in the order of the table.</summary>
    public static async LoopTask<(IReadOnlyList<SnapshotEntry> Entries, int Bytes)> ReadSnapshotTableAsync(IBlockStorage file,
        Header header)
    {
        if (header.SnapshotCount == 0)
            return ([], 0);
        var pool = LoopScheduler.Current.Buffers;
        var table = pool.Rent(SnapshotTable.MaxBytes(header.SnapshotCount, header.SnapshotsOffset, file.Length));
        try
        {
            Require(file, "snapshot table", await file.ReadAsync(header.SnapshotsOffset.Value, table));
            var entries = SnapshotTable.Parse(table.Span, header.SnapshotCount, file.Path, out var bytes);
            return (entries, bytes);
        }
        finally
        {
            pool.Return(table);
        }
    }

    /// <summary>Where the L1 table is and how large the disk: of the active state, or of the snapshot asked for.</summary>
    private static async LoopTask<(HostOffset Offset, int Entries, long Size)> ChooseStateAsync(IBlockStorage file, Header header,
        string? snapshot)
    {
        var geometry = new Geometry(header);
        if (snapshot is null)
            return (header.L1TableOffset, header.L1Size, geometry.DiskSize);
        SnapshotEntry? found = null;
        var (entries, _) = await ReadSnapshotTableAsync(file, header);
        foreach (var entry in entries)
        {
            // An ID wins over a name, as in qemu.
            if (entry.Id == snapshot)
            {
                found = entry;
                break;
            }

            if (entry.Name == snapshot)
                found ??= entry;
        }

        if (found is null)
        {
            throw new ImageFormatException(file.Path, "snapshot", $"there is no snapshot with ID or name \"{snapshot}\"")
            {
                IsMissing = true,
            };
        }

        found.CheckL1(header, file.Length);
        var size = Rounding.Down((long)Math.Min(found.DiskSize ?? (ulong)header.Size, Limits.MaxFileBytes), 512);
        var covered = (long)found.L1Size << (geometry.L2Bits + geometry.ClusterBits);
        if (covered < size)
        {
            throw new ImageFormatException(file.Path, "l1_size",
                $"the L1 table of snapshot {found.Id} has {found.L1Size} entries, too few for a disk of {size} bytes");
        }

        return (found.L1TableOffset, found.L1Size, size);
    }

    private static async LoopTask<MetadataTable> LoadTableAsync(ImageContext context, string name, HostOffset offset, int entries)
    {
        var table = new MetadataTable(entries, offset.Value, context.WriteUnit);
        var error = entries == 0 ? 0 : await table.LoadAsync(context.File);
        if (error == 0)
            return table;
        table.Dispose();
        throw new IOException($"cannot read the {name} of {context.File.Path}: {Errno.Text(error)}");
    }

    private static void Require(IBlockStorage file, string what, int error)
    {
        if (error < 0)
            throw new IOException($"cannot read {file.Path} ({what}): {Errno.Text(error)}");
    }
}
