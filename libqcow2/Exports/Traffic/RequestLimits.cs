using System;
using System.Threading;

namespace Qcow2Blk.Exports.Traffic;

/// <summary>
/// The limits of one device, shared by all its loops. Any thread. Who is told to wait comes again: nothing is promised to
/// those who wait, so that a request that is given up meanwhile has cost nothing.
/// </summary>
internal sealed class RequestLimits
{
    private readonly Lock _lock = new();
    private volatile bool _isOn;
    private bool _isLifted;
    private TokenBucket _requests, _bytes, _reads, _readBytes, _writes, _writtenBytes;

    /// <summary>Whether <see cref="TryPass"/> has to be asked: all that a request costs while nothing is limited.</summary>
    public bool IsOn => _isOn;

    /// <summary>What was set last.</summary>
    public LimitRates Rates { get; private set; }

    /// <summary>Sets all limits anew; what was used or saved up before is forgotten.</summary>
    public void Set(in LimitRates rates)
    {
        var burst = (long)((rates.BurstSeconds ?? LimitRates.DefaultBurstSeconds) * 1e9);
        lock (_lock)
        {
            Rates = rates;
            _requests = Bucket(rates.Requests, burst);
            _bytes = Bucket(rates.Bytes, burst);
            _reads = Bucket(rates.Reads, burst);
            _readBytes = Bucket(rates.ReadBytes, burst);
            _writes = Bucket(rates.Writes, burst);
            _writtenBytes = Bucket(rates.WrittenBytes, burst);
            _isOn = rates.Any && !_isLifted;
        }
    }

    /// <summary>Nothing is limited until <see cref="Restore"/>: the device is being detached, and should not take long over it.</summary>
    public void Lift()
    {
        lock (_lock)
            (_isLifted, _isOn) = (true, false);
    }

    /// <summary>What was set holds again.</summary>
    public void Restore()
    {
        lock (_lock)
            (_isLifted, _isOn) = (false, Rates.Any);
    }

    /// <summary>Asks for a request to begin.</summary>
    /// <param name="kind">what it does; those that neither read nor write are not limited</param>
    /// <param name="bytes">bytes that it moves</param>
    /// <param name="now">nanoseconds of a clock that never goes back, the same for all loops</param>
    /// <returns>0 if it may begin, and is counted; else nanoseconds after which it makes sense to ask again</returns>
    public long TryPass(IoKind kind, long bytes, long now)
    {
        if (!_isOn || kind == IoKind.Other)
            return 0;
        lock (_lock)
        {
            return kind == IoKind.Read
                ? TryPass(ref _reads, ref _readBytes, bytes, now)
                : TryPass(ref _writes, ref _writtenBytes, bytes, now);
        }
    }

    private long TryPass(ref TokenBucket requestsOfKind, ref TokenBucket bytesOfKind, long bytes, long now)
    {
        var wait = Math.Max(Math.Max(_requests.Wait(now), requestsOfKind.Wait(now)),
            bytes == 0 ? 0 : Math.Max(_bytes.Wait(now), bytesOfKind.Wait(now)));
        if (wait > 0)
            return wait;
        _requests.Take(1, now);
        requestsOfKind.Take(1, now);
        _bytes.Take(bytes, now);
        bytesOfKind.Take(bytes, now);
        return 0;
    }

    private static TokenBucket Bucket(long? perSecond, long burst) => new(perSecond ?? 0, burst);
}
