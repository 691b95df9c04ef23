using System;
using System.Collections.Generic;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>What is known of a range of an export.</summary>
internal enum ZeroFinding
{
    /// <summary>Not yet whether it is zeroes.</summary>
    Unknown,

    /// <summary>All of it reads as zeroes.</summary>
    Zeroes,

    /// <summary>Some of it may be data.</summary>
    Data,
}

/// <summary>
/// Which parts of an export are zeroes, by the unit of the smallest chunks, as far as its server was asked. What it takes of memory has
/// a limit: when that is reached, all is forgotten and asked again. Home loop.
/// </summary>
/// <param name="length">of the export, in bytes</param>
internal sealed class ZeroMap(long length)
{
    public const int UnitBytes = RemoteSettings.MinChunkBytes;

    /// <summary>What is asked at a time, and kept in one piece.</summary>
    public const int PageBytes = 256 << 20;

    private const int UnitsOfPage = PageBytes / UnitBytes;

    // A terabyte, in 4 MiB.
    private const int MostPages = 4096;

    private readonly Dictionary<long, Page> _pages = [];
    private long _zeroesFrom;

    public long Length => length;

    /// <summary>Pages that are kept.</summary>
    internal int Pages => _pages.Count;

    /// <summary>Looks a range of the export up.</summary>
    /// <param name="offset">of the range</param>
    /// <param name="bytes">of it, not 0</param>
    /// <param name="unknown">the beginning of the first unit of it that nothing is known of</param>
    public ZeroFinding Find(long offset, long bytes, out long unknown)
    {
        unknown = -1;
        for (var unit = offset / UnitBytes; unit <= (offset + bytes - 1) / UnitBytes; unit++)
        {
            var found = this[unit];
            if (found == ZeroFinding.Data)
                return ZeroFinding.Data;
            if (found == ZeroFinding.Unknown && unknown < 0)
                unknown = unit * UnitBytes;
        }

        return unknown < 0 ? ZeroFinding.Zeroes : ZeroFinding.Unknown;
    }

    /// <summary>Notes a part of an answer; parts come in order, each where the one before ended.</summary>
    public void Note(long offset, long bytes, bool isZero, bool isFirst)
    {
        if (isFirst)
            _zeroesFrom = offset;
        var end = offset + bytes;
        if (!isZero)
        {
            for (var unit = offset / UnitBytes; unit <= (end - 1) / UnitBytes; unit++)
                this[unit] = ZeroFinding.Data;
            _zeroesFrom = end;
            return;
        }

        // Only units that are zeroes from their beginning to their end: the part before may have ended inside one.
        var last = end == length ? end + UnitBytes - 1 : end;
        for (var unit = Math.Max(offset / UnitBytes, (_zeroesFrom + UnitBytes - 1) / UnitBytes); (unit + 1) * UnitBytes <= last; unit++)
            this[unit] = ZeroFinding.Zeroes;
    }

    /// <summary>An answer has ended. If it is of less than a unit, that is fetched rather than asked for in pieces.</summary>
    public void EndNotes(long offset, long end)
    {
        if (end > offset && this[offset / UnitBytes] == ZeroFinding.Unknown)
            this[offset / UnitBytes] = ZeroFinding.Data;
    }

    private ZeroFinding this[long unit]
    {
        get => _pages.TryGetValue(unit / UnitsOfPage, out var page) ? page[(int)(unit % UnitsOfPage)] : ZeroFinding.Unknown;
        set
        {
            if (!_pages.TryGetValue(unit / UnitsOfPage, out var page))
            {
                if (_pages.Count == MostPages)
                    _pages.Clear();
                page = new Page();
                _pages.Add(unit / UnitsOfPage, page);
            }

            page[(int)(unit % UnitsOfPage)] = value;
        }
    }

    /// <summary>Two bits a unit.</summary>
    private sealed class Page
    {
        private readonly byte[] _bits = new byte[UnitsOfPage / 4];

        public ZeroFinding this[int unit]
        {
            get => (ZeroFinding)((_bits[unit >> 2] >> Shift(unit)) & 3);
            set => _bits[unit >> 2] = (byte)((_bits[unit >> 2] & ~(3 << Shift(unit))) | ((int)value << Shift(unit)));
        }

        private static int Shift(int unit) => (unit & 3) * 2;
    }
}
