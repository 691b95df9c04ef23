using System;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// Notices that a base is read in sequence, and says how far to fetch ahead: twice as far with each step. Only chunks that had
/// to be waited for are seen here, so a step is as long as what was fetched ahead last time.
/// </summary>
internal sealed class ReadAhead
{
    /// <summary>Chunks: 8 MiB of the default size, which keeps 100 Mbit/s busy for more than half a second.</summary>
    public const int MaxWindow = 32;

    // Partitions, files and table reads that a boot interleaves.
    private const int Streams = 8;

    private readonly (long Expected, int Window, long Used)[] _streams = new (long, int, long)[Streams];
    private long _clock;

    public ReadAhead() => Array.Fill(_streams, (-1, 0, 0));

    /// <summary>A chunk that is not here yet is needed now.</summary>
    /// <returns>how many chunks after it to fetch ahead</returns>
    public int Missed(long chunk)
    {
        _clock++;
        var oldest = 0;
        for (var i = 0; i < Streams; i++)
        {
            var (expected, window, _) = _streams[i];

            // Prefetched chunks may be overtaken by the reader: those count as the next, too.
            if (expected >= 0 && chunk <= expected && chunk > expected - 1 - Math.Max(window, 1))
            {
                if (chunk < expected)
                {
                    _streams[i].Used = _clock;
                    return 0;
                }

                window = Math.Min(Math.Max(window * 2, 1), MaxWindow);
                _streams[i] = (chunk + window + 1, window, _clock);
                return window;
            }

            if (_streams[i].Used < _streams[oldest].Used)
                oldest = i;
        }

        _streams[oldest] = (chunk + 1, 0, _clock);
        return 0;
    }
}
