using System;
using System.Collections.Generic;

namespace Qcow2Blk.Tests.Shared.Simulation;

/// <summary>
/// Decides which sectors of unflushed operations reach the disk. Several styles, as bugs hide in different ones:
/// a single write lost among all, a single one that overtook all, whole writes, single sectors.
/// </summary>
internal readonly struct PowerCut
{
    private enum Style
    {
        Nothing,
        Everything,
        HalfOfTheSectors,
        HalfOfTheOperations,
        OneOperationOnly,
        AllButOneOperation,
        FewSectors,
        MostSectors,
    }

    private readonly Style _style;
    private readonly ulong _seed;
    private readonly StorageOperation? _chosen;

    public PowerCut(Random random, List<StorageOperation> pending)
    {
        _style = (Style)random.Next((int)Style.MostSectors + 1);
        _seed = (ulong)random.NextInt64();
        _chosen = pending.Count == 0 ? null : pending[random.Next(pending.Count)];
    }

    /// <summary>The same answer whenever it is asked: no state is kept per sector.</summary>
    public bool Survives(StorageOperation operation, long sector) => _style switch
    {
        Style.Nothing => false,
        Style.Everything => true,
        Style.HalfOfTheSectors => Draw(operation, sector, 2) == 0,
        Style.HalfOfTheOperations => Draw(operation, 0, 2) == 0,
        Style.OneOperationOnly => operation == _chosen,
        Style.AllButOneOperation => operation != _chosen,
        Style.FewSectors => Draw(operation, sector, 10) == 0,
        _ => Draw(operation, sector, 10) != 0,
    };

    private ulong Draw(StorageOperation operation, long sector, ulong sides)
    {
        // splitmix64
        var z = _seed + (ulong)operation.Submitted * 0x9E3779B97F4A7C15 + (ulong)sector * 0xD1B54A32D192ED03;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return (z ^ (z >> 31)) % sides;
    }
}
