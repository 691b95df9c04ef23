using System.Collections.Generic;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Space;

/// <summary>Room for tables, which are in one piece.</summary>
internal sealed partial class Allocator
{
    /// <summary>As <see cref="AllocateAsync"/>, all of the clusters.</summary>
    /// <returns>the offset of the first, or a negative errno</returns>
    public async LoopTask<long> AllocateWholeAsync(int count)
    {
        // What is too short is held until the end: else it would be found again.
        var tooShort = new List<HostRun>();
        var runs = new List<HostRun>();
        var have = 0;
        var error = 0;
        while (have < count && error == 0)
        {
            var run = await AllocateAsync(count - have);
            error = run.Error;
            if (error < 0)
                break;
            if (have > 0 && run.Offset != runs[0].Offset + ((long)have << _geometry.ClusterBits))
            {
                tooShort.AddRange(runs);
                runs.Clear();
                have = 0;
            }

            runs.Add(run);
            have += run.Clusters;
        }

        if (error < 0)
            tooShort.AddRange(runs);
        foreach (var run in tooShort)
            await ReleaseAsync(run);
        return error < 0 ? error : runs[0].Offset.Value;
    }
}
