using System.Collections.Generic;
using Qcow2Blk.Format;
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

    /// <summary>Cuts off the end of the file where no cluster is used, once that is on disk. Nothing else may allocate meanwhile.</summary>
    public async LoopTask<int> CutFreeEndAsync()
    {
        if (_fixedLength || _context.File.Length == 0)
            return 0;
        var cluster = _geometry.ClusterOf(new HostOffset(_context.File.Length - 1));
        for (; cluster.Number > 0; cluster--)
        {
            var count = await _refcounts.GetAsync(cluster);
            if (count < 0)
                return (int)count;
            if (count > 0)
                break;
        }

        var end = _geometry.StartOf(cluster + 1).Value;
        return end < _context.File.Length ? await _context.File.SetLengthAsync(end) : 0;
    }
}
