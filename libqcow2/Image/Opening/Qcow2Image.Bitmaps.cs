using System;
using Qcow2Blk.Buffers;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Opening;

/// <summary>The persistent bitmaps of the image, for those who look at it.</summary>
internal sealed partial class Qcow2Image
{
    private volatile ImageBitmaps _bitmaps = ImageBitmaps.None;

    /// <summary>As they are now, once <see cref="LoadBitmapsAsync"/> has read them. Any thread.</summary>
    public ImageBitmaps Bitmaps => _bitmaps;

    /// <summary>Reads which bitmaps there are. That they cannot be read is no reason to refuse the disk.</summary>
    /// <returns>0, also if they cannot be read</returns>
    public async LoopTask<int> LoadBitmapsAsync()
    {
        if (Header.Bitmaps is not { } bitmaps)
            return 0;
        var pool = LoopScheduler.Current.Buffers;
        var directory = pool.Rent(DirectoryLength(bitmaps));
        var error = await _file.ReadAsync(bitmaps.DirectoryOffset.Value, directory);
        _bitmaps = error < 0
            ? ImageBitmaps.None with { Damage = $"cannot read the bitmap directory: {Errno.Text(error)}" }
            : Read(directory.Span[..bitmaps.DirectorySize], bitmaps);
        pool.Return(directory);
        return 0;
    }

    private ImageBitmaps Read(ReadOnlySpan<byte> directory, BitmapsExtension bitmaps)
    {
        try
        {
            return ImageBitmaps.Of(directory, bitmaps, Header);
        }
        catch (ImageFormatException damage)
        {
            return ImageBitmaps.None with { Damage = damage.Why };
        }
    }

    /// <summary>Whole units of what the file takes.</summary>
    private int DirectoryLength(BitmapsExtension bitmaps) =>
        (bitmaps.DirectorySize + _context.WriteUnit - 1) / _context.WriteUnit * _context.WriteUnit;
}
