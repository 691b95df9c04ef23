using System;
using System.Collections.Generic;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Space;

/// <summary>
/// Clusters on their way from "nothing points here in memory" to "free": first the commit that removes the last
/// pointer from the file, then the end of every request that may still use them, then their hole punch, and only
/// then the lower refcount, which makes them available again.
/// </summary>
internal sealed class FreeQueue
{
    private readonly WaitQueue _idle = new();
    private readonly ImageContext _context;
    private readonly RefcountBlocks _refcounts;
    private readonly bool _punch;
    private List<(HostCluster First, long Count)> _unpublished = [];
    private List<(HostCluster First, long Count)> _committing = [];
    private List<(HostCluster First, long Count)> _committed = [];
    private List<(HostCluster First, long Count)> _reclaiming = [];
    private bool _cannotPunch;
    private bool _running;
    private bool _isHeld;
    private int _committedEpoch;

    /// <param name="context">the image</param>
    /// <param name="refcounts">its refcounts</param>
    /// <param name="punch">whether free space goes back to the file system</param>
    public FreeQueue(ImageContext context, RefcountBlocks refcounts, bool punch)
    {
        _context = context;
        _refcounts = refcounts;
        _punch = punch;
    }

    /// <summary>Told when clusters have become free. Set once by the image.</summary>
    public Action<HostCluster, long>? Freed { get; set; }

    /// <summary>Clusters that wait for a commit.</summary>
    public long UnpublishedClusters { get; private set; }

    /// <summary>
    /// Nothing becomes free until <see cref="Release"/>: somebody is counting uses that there were at this moment, and what is given up
    /// meanwhile must not be gone before it was counted.
    /// </summary>
    public void Hold()
    {
        Invariant.Holds(!_isHeld, "one at a time holds back what is given up", UnpublishedClusters);
        _isHeld = true;
    }

    public void Release()
    {
        _isHeld = false;
        Reclaim();
        _idle.WakeAll();
    }

    public bool IsEmpty => _unpublished.Count == 0 && _committed.Count == 0 && !_running;

    /// <summary>Whether something waits for a commit.</summary>
    public bool NeedsCommit => _unpublished.Count > 0;

    /// <summary>One use less of each cluster, once the change in memory that removed the pointers is on disk.</summary>
    public void Add(HostCluster first, long count)
    {
        Invariant.Holds(_context.IsHome, "only the home loop frees clusters", first.Number);
        Invariant.Holds(first.Number >= 0 && count > 0, "a range that is freed has clusters", first.Number, count);
        UnpublishedClusters += count;
        if (_unpublished.Count > 0)
        {
            var (lastFirst, lastCount) = _unpublished[^1];
            if (lastFirst + lastCount == first)
            {
                _unpublished[^1] = (lastFirst, lastCount + count);
                return;
            }
        }

        _unpublished.Add((first, count));
    }

    /// <summary>A commit takes its copy of the metadata now.</summary>
    public void Capture()
    {
        Invariant.Holds(_committing.Count == 0, "what one commit covers is not mixed with the next", _committing.Count);
        if (Invariant.Thorough)
        {
            Invariant.Holds(
                CountOf(_unpublished) == UnpublishedClusters, "every cluster that waits for a commit is counted", UnpublishedClusters);
        }

        (_unpublished, _committing) = (_committing, _unpublished);
        UnpublishedClusters = 0;
    }

    /// <summary>The commit has ended.</summary>
    public void Captured(bool succeeded)
    {
        (succeeded ? _committed : _unpublished).AddRange(_committing);
        _committedEpoch = _context.Epochs.Number;
        if (!succeeded)
        {
            foreach (var (_, count) in _committing)
                UnpublishedClusters += count;
        }

        _committing.Clear();
        Reclaim();
    }

    /// <summary>Completes when nothing is being reclaimed.</summary>
    public async LoopTask<int> DrainAsync()
    {
        while (_running || (_isHeld && _committed.Count > 0))
            await _idle.WaitAsync();
        return 0;
    }

    private void Reclaim()
    {
        if (_committed.Count == 0 || _running || _isHeld)
            return;
        _running = true;
        ReclaimAsync().Forget();
    }

    private async LoopTask<int> ReclaimAsync()
    {
        try
        {
            while (_committed.Count > 0 && !_isHeld)
            {
                (_committed, _reclaiming) = (_reclaiming, _committed);
                var epoch = _committedEpoch;
                await _context.Epochs.WaitForQuietAsync();
                Invariant.Holds(
                    _context.Epochs.QuietBefore - epoch > 0,
                    "nothing is freed while a request may use it that began before the commit", epoch);
                foreach (var (first, count) in _reclaiming)
                {
                    // Once writing has stopped, what is left leaks.
                    if (_context.WriteError == 0)
                        await FreeAsync(first, count);
                }

                _reclaiming.Clear();
            }
        }
        catch (InvariantBreach breach)
        {
            // What was to be freed is leaked.
            _context.Stop(breach);
        }

        _running = false;
        _idle.WakeAll();
        return 0;
    }

    private async LoopTask<int> FreeAsync(HostCluster first, long count)
    {
        var end = first + count;
        for (var cluster = first; cluster < end; cluster++)
        {
            if (_context.Metadata!.Contains(_context.Geometry.StartOf(cluster)))
                return _context.Corrupt($"cluster at {_context.Geometry.StartOf(cluster)} was used for data and for metadata");
        }

        while (first < end)
        {
            // Neighbours whose last use this is are punched together.
            var last = first;
            while (last < end && await _refcounts.GetAsync(last) == 1)
                last++;
            if (last > first)
            {
                RequireLastUse(first, last - first);
                await PunchAsync(first, last - first);
            }

            var stop = last > first ? last : first + 1;
            for (var cluster = first; cluster < stop; cluster++)
                await _refcounts.DecrementAsync(cluster);
            if (last > first)
                Freed?.Invoke(first, last - first);
            first = stop;
        }

        return 0;
    }

    /// <summary>Whether the cluster waits for a commit, or for the requests before it. For who only checks: it walks the lists.</summary>
    public bool IsQueued(HostCluster cluster) =>
        HasCluster(_unpublished, cluster) || HasCluster(_committing, cluster) || HasCluster(_committed, cluster);

    private static bool HasCluster(List<(HostCluster First, long Count)> ranges, HostCluster cluster)
    {
        foreach (var (first, count) in ranges)
        {
            if (first <= cluster && cluster < first + count)
                return true;
        }

        return false;
    }

    private static long CountOf(List<(HostCluster First, long Count)> ranges)
    {
        long sum = 0;
        foreach (var (_, count) in ranges)
            sum += count;
        return sum;
    }

    /// <summary>What is punched is used by nobody else. A slice that is not in memory any more was looked at just before.</summary>
    private void RequireLastUse(HostCluster first, long count)
    {
        for (var cluster = first; cluster < first + count && Invariant.Thorough; cluster++)
            Invariant.Holds(_refcounts.Peek(cluster) is 1 or null, "only a cluster whose last use it was is punched", cluster.Number);
    }

    private async LoopTask<int> PunchAsync(HostCluster first, long count)
    {
        if (!_punch || _cannotPunch)
            return 0;
        var error = await _context.File.PunchAsync(_context.Geometry.StartOf(first).Value, count << _context.Geometry.ClusterBits);
        if (error == -Errno.EOPNOTSUPP)
            _cannotPunch = true;
        else if (error < 0)
            _context.Report?.Invoke($"cannot punch a hole into {_context.File.Path}: {Errno.Text(error)}");
        return 0; // The clusters are free all the same; the file system just keeps their blocks.
    }
}
