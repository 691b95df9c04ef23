using System;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// The first source is the one that the user wants. While a mirror stands in for it, it is asked now and then whether it is back, by
/// a read that nobody waits for.
/// </summary>
internal sealed partial class SourcePool
{
    // Enough to show that it answers, and with what.
    private const int ProbeBytes = 4096;

    private static readonly TimeSpan s_detour = TimeSpan.FromSeconds(30);

    private bool _isProbing;

    /// <summary>Asks the first source, if it is time to. Where a proof is, the whole chunk is needed for it.</summary>
    private void ProbeFirst(long chunk, long offset, int length)
    {
        if (_isProbing || _isClosing || _preferred == 0 || _members[0].IsDropped || Since(_leftFirst) < s_detour)
            return;
        ProbeAsync(chunk, offset, proof is null ? Math.Min(ProbeBytes, length) : length).Forget();
    }

    private async LoopTask<int> ProbeAsync(long chunk, long offset, int length)
    {
        _isProbing = true;
        _underWay++;
        var buffers = LoopScheduler.Current.Buffers;
        var leg = new ChunkRead.Leg(0, buffers.Rent(length), new ReadHandle()) { IsExtra = true };
        leg.Result = await ReadFromAsync(leg, offset);
        leg.IsBad = leg.Result.IsDone && proof is not null && !await VerifyAsync(chunk, leg.Buffer);
        leg.IsOver = true;
        buffers.Return(leg.Buffer);
        if (leg.IsBad)
            counters.CountBadChunk();
        else if (!leg.Result.IsDone && !leg.IsNoted)
            Failed(0, leg.Result, isExtra: true);
        else if (leg.Result.IsDone && !_members[0].IsDropped)
            Succeeded(0);
        _leftFirst = Clock();
        _isProbing = false;
        if (--_underWay == 0)
            _ended.WakeAll();
        return 0;
    }
}
