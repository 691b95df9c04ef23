using System.Buffers.Binary;
using System.Linq;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Devices;

/// <summary>L2 tables of a base in a store: once they are here, they say which parts of its file are worth reading ahead.</summary>
internal static class BaseTables
{
    /// <summary>Tells the base, when its tables have come. Nothing waits for it, and nothing depends on it.</summary>
    /// <param name="file">the base</param>
    /// <param name="image">the image in it</param>
    /// <param name="most">bytes of tables that are fetched ahead: those of a larger image are not here</param>
    public static async LoopTask<int> NoteUsedAsync(RemoteStorage file, Qcow2Image image, long most)
    {
        // Data in another file says nothing of this one. Without a cache, or while a trace is recorded, all would be read again.
        var geometry = new Geometry(image.Header);
        if (geometry.HasDataFile || file.CachedFile is null)
            return 0;
        var clusterBytes = (int)image.ClusterBytes;
        var tables = image.TableOffsets.Select(table => table.Value).ToArray();
        if (tables.Length * (long)clusterBytes > most)
            return 0;
        await file.WhenIdleAsync();
        var used = new UsedChunks(file.Length, file.ChunkBytes);
        var pool = LoopScheduler.Current.Buffers;
        var buffer = pool.Rent(clusterBytes);
        var result = 0;
        foreach (var table in tables)
        {
            result = IsHere(file, table, clusterBytes) ? await file.ReadAsync(table, buffer) : -1;
            if (result < 0)
                break;
            used.Add(table, clusterBytes);
            NoteClusters(used, buffer, geometry, clusterBytes);
        }

        pool.Return(buffer);
        if (result == 0)
            file.Used = used;
        return 0;
    }

    private static void NoteClusters(UsedChunks used, NativeBuffer table, in Geometry geometry, int clusterBytes)
    {
        for (var at = 0; at < table.Length; at += geometry.L2EntryBytes)
        {
            var entry = L2Entry.Decode(BinaryPrimitives.ReadUInt64BigEndian(table.Span[at..]), geometry);
            if (entry.Kind == L2Kind.Data)
                used.Add(entry.Host.Value, clusterBytes);
            else if (entry.Kind == L2Kind.Compressed)
                used.Add(entry.Host.Value, entry.CompressedLength);
        }
    }

    /// <summary>What L1 says of a table may be anything.</summary>
    private static bool IsHere(RemoteStorage file, long table, int bytes)
    {
        if (table <= 0 || table > file.Length - bytes)
            return false;
        for (var chunk = table / file.ChunkBytes; chunk <= (table + bytes - 1) / file.ChunkBytes; chunk++)
        {
            if (!file.HasChunk(chunk))
                return false;
        }

        return true;
    }
}
