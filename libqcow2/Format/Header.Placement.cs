using System.Collections.Generic;

namespace Qcow2Blk.Format;

/// <summary>Checks that need to know more than the header's own bytes.</summary>
internal sealed partial class Header
{
    /// <summary>Refuses, by name, what the format allows and this program cannot do yet.</summary>
    /// <param name="forWriting">also refuse what forbids writing: the corrupt bit</param>
    /// <exception cref="ImageFormatException">the feature and the field that asks for it</exception>
    public void RefuseUnsupported(bool forWriting)
    {
        if (CryptMethod == LegacyAes && forWriting)
        {
            throw new ImageFormatException(Path, "crypt_method", "images with legacy AES encryption can only be read",
                "attach it with --read-only; \"qemu-img convert\" makes one with LUKS of it")
            {
                IsUnsupported = true,
            };
        }

        if (forWriting && Incompatible.HasFlag(IncompatibleFeatures.Corrupt))
        {
            throw new ImageFormatException(Path, "incompatible_features",
                $"image is marked corrupt and cannot be written (incompatible_features 0x{(ulong)Incompatible:x};"
                + " attach it read-only or repair it: qcow2blk check --repair all)");
        }
    }

    /// <summary>
    /// Refuses tables that the file cannot hold, that overlap each other or the header. A table's last cluster may be
    /// cut short by the end of the file and reads as zeroes there.
    /// </summary>
    /// <param name="fileLength">bytes in the image file</param>
    /// <exception cref="ImageFormatException">which table, where, and the file's size</exception>
    public void CheckAgainstFile(long fileLength)
    {
        var tables = Tables();
        var fileEnd = RoundUp(System.Math.Min(fileLength, Limits.MaxFileBytes));
        foreach (var table in tables)
        {
            if (table.Offset.Value >= fileLength)
            {
                throw new ImageFormatException(Path, table.Field,
                    $"{table.Field}: {table.Name} at {table.Offset} starts past the end of the file (size {fileLength})");
            }

            if (table.End > fileEnd)
            {
                throw new ImageFormatException(Path, table.Field,
                    $"{table.Field}: {table.Name} at {table.Offset} ends at 0x{table.End:x}, past the end of the file (size {fileLength})");
            }
        }

        RefuseOverlaps(tables);
    }

    private void RefuseOverlaps(List<Table> tables)
    {
        for (var i = 0; i < tables.Count; i++)
        {
            if (tables[i].Offset.Value < ClusterSize)
            {
                throw new ImageFormatException(Path, tables[i].Field,
                    $"{tables[i].Field}: {tables[i].Name} at {tables[i].Offset} overlaps the header");
            }

            for (var j = 0; j < i; j++)
            {
                if (tables[i].Offset.Value < tables[j].End && tables[j].Offset.Value < tables[i].End)
                {
                    throw new ImageFormatException(Path, tables[i].Field,
                        $"{tables[i].Field}: {tables[i].Name} at {tables[i].Offset} overlaps the {tables[j].Name} at {tables[j].Offset}");
                }
            }
        }
    }

    private List<Table> Tables()
    {
        var tables = new List<Table>(4);
        if (L1Size > 0)
            tables.Add(At("l1_table_offset", "L1 table", L1TableOffset, (long)L1Size * sizeof(ulong)));
        tables.Add(At("refcount_table_offset", "refcount table", RefcountTableOffset, (long)RefcountTableClusters << ClusterBits));
        if (SnapshotCount > 0)
            tables.Add(At("snapshots_offset", "snapshot table", SnapshotsOffset, (long)SnapshotCount * SnapshotTable.MinEntryLength));
        if (Bitmaps is not null)
            tables.Add(At("bitmap_directory_offset", "bitmap directory", Bitmaps.DirectoryOffset, Bitmaps.DirectorySize));
        if (Encryption is not null)
            tables.Add(At("encryption_header_offset", "encryption header", Encryption.Offset, Encryption.Bytes));
        return tables;
    }

    private Table At(string field, string name, HostOffset offset, long bytes) => new(field, name, offset, offset.Value + RoundUp(bytes));

    private long RoundUp(long bytes) => Rounding.Up(bytes, ClusterSize);

    /// <summary>A run of whole clusters that belongs to one table.</summary>
    private readonly record struct Table(string Field, string Name, HostOffset Offset, long End);
}
