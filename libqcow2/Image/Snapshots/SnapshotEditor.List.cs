using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Snapshots;

/// <summary>Looking at snapshots inside an edit.</summary>
internal sealed partial class SnapshotEditor
{
    /// <returns>0 and the snapshots in the order of their table, or a negative errno</returns>
    public async LoopTask<(int Error, IReadOnlyList<SnapshotEntry> Entries)> ListAsync()
    {
        var (error, found) = await parts.ReadTableAsync();
        return (error, found.Entries);
    }
}
