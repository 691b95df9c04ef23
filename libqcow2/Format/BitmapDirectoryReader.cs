using System;

namespace Qcow2Blk.Format;

/// <summary>Reads the entries of a bitmap directory one after another: there may be 65535, of which few are of interest.</summary>
/// <param name="directory">its bytes</param>
/// <param name="count">entries that there must be</param>
/// <param name="clusterSize">of the image</param>
/// <param name="path">of the image, for messages</param>
internal ref struct BitmapDirectoryReader(ReadOnlySpan<byte> directory, int count, int clusterSize, string path)
{
    private readonly ReadOnlySpan<byte> _directory = directory;
    private int _offset;
    private int _read;

    /// <returns>the next entry; null after the last</returns>
    /// <exception cref="ImageFormatException">an entry is cut off or breaks a limit, or there are too many or too few</exception>
    public BitmapEntry? TryRead()
    {
        if (_offset >= _directory.Length)
        {
            return _read == count
                ? null
                : throw BitmapDirectory.Bad(path, $"only {_read} bitmaps in the bitmap directory, nb_bitmaps is {count}");
        }

        if (_read == count)
            throw BitmapDirectory.Bad(path, $"more than nb_bitmaps {count} bitmaps in a bitmap directory of {_directory.Length} bytes");
        var entry = BitmapDirectory.ParseEntry(_directory, _offset, _read, clusterSize, path, out var length);
        _offset += (length + 7) & ~7;
        _read++;
        return entry;
    }
}
