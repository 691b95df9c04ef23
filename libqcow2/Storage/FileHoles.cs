using Qcow2Blk.Format;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Storage;

/// <summary>Holes of one regular file: what the kernel is asked (SEEK_DATA, SEEK_HOLE), and what is remembered of its answers.</summary>
internal sealed class FileHoles
{
    // The unit in which disks are told; a file may end within one, and what is past its end reads as zeroes.
    private const int Sector = 512;

    private readonly DataRanges _data = new();

    /// <summary>As <see cref="IBlockStorage.FindRange"/>.</summary>
    public FileRange Find(int descriptor, long offset)
    {
        if (_data.EndAt(offset) is var known and > 0)
            return new FileRange(IsHole: false, known, Seeks: 0);

        // A file system that does not know holes calls all of it data; an error is no reason to say otherwise.
        var data = Files.Seek(descriptor, offset, Files.SEEK_DATA);
        if (data == -Errno.ENXIO)
            return new FileRange(IsHole: true, long.MaxValue, Seeks: 1);
        if (data < 0)
            return FileRange.DataToTheEnd with { Seeks = 1 };

        // A hole ends before the sector in which data begins.
        if (Rounding.Down(data, Sector) is var sector && sector > offset)
            return new FileRange(IsHole: true, sector, Seeks: 1);
        var hole = Files.Seek(descriptor, data, Files.SEEK_HOLE);
        if (hole <= data)
            return FileRange.DataToTheEnd with { Seeks = 2 };
        var end = hole >= Limits.MaxFileBytes ? long.MaxValue : Rounding.Up(hole, Sector);
        _data.Add(offset, end);
        return new FileRange(IsHole: false, end, Seeks: 2);
    }

    /// <summary>Whether all of the range is known to hold data, without asking the file. Any loop.</summary>
    public bool IsKnownData(long offset, int length) => _data.EndAt(offset) >= offset + length;

    /// <summary>A range was punched, zeroed or cut off: it is perhaps no data any more.</summary>
    public void Forget(long start, long end) => _data.Remove(start, end);
}
