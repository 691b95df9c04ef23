using System;
using System.Buffers.Binary;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Commit;

/// <summary>The directory of persistent bitmaps in the image.</summary>
internal sealed class BitmapList(ImageContext context)
{
    private volatile ImageBitmaps _found = ImageBitmaps.None;

    /// <summary>As they are now, once <see cref="LoadAsync"/> has read them. Any thread.</summary>
    public ImageBitmaps Found => _found;

    /// <summary>Reads which bitmaps there are. That they cannot be read is no reason to refuse the disk.</summary>
    /// <returns>0, also if they cannot be read</returns>
    public async LoopTask<int> LoadAsync()
    {
        if (context.Header.Bitmaps is not { } bitmaps)
            return 0;
        var pool = LoopScheduler.Current.Buffers;
        var directory = pool.Rent(DirectoryLength(bitmaps));
        var error = await context.File.ReadAsync(bitmaps.DirectoryOffset.Value, directory);
        _found = error < 0
            ? ImageBitmaps.None with { Damage = $"cannot read the bitmap directory: {Errno.Text(error)}" }
            : Read(directory.Span[..bitmaps.DirectorySize], bitmaps);
        pool.Return(directory);
        return 0;
    }

    /// <summary>Marks those that record changes.</summary>
    public async LoopTask<int> MarkInUseAsync()
    {
        var bitmaps = context.Header.Bitmaps!;
        var start = bitmaps.DirectoryOffset.Value;
        var pool = LoopScheduler.Current.Buffers;
        var directory = pool.Rent(DirectoryLength(bitmaps));
        var error = await context.File.ReadAsync(start, directory);
        var changed = error == 0 && MarkInUse(directory.Span[..bitmaps.DirectorySize], bitmaps);
        if (changed)
            error = await context.File.WriteAsync(start, directory);
        if (error == 0 && changed)
        {
            error = await context.File.FlushAsync();
            if (error < 0)
                context.SyncFailed(error);
        }

        if (error == 0)
            _found = Read(directory.Span[..bitmaps.DirectorySize], bitmaps);
        pool.Return(directory);
        return error;
    }

    /// <returns>whether there was anything to mark; never in a directory that is damaged</returns>
    private bool MarkInUse(Span<byte> directory, BitmapsExtension bitmaps)
    {
        if (Read(directory, bitmaps) is not { Recording: > 0 })
            return false;
        var reader = new BitmapDirectoryReader(directory, bitmaps.NumberOfBitmaps, context.Geometry.ClusterSize, context.File.Path);
        while (reader.TryRead() is { } entry)
        {
            if (!entry.IsRecording)
                continue;
            var flags = directory[(entry.EntryOffset + BitmapEntry.FlagsField)..];
            BinaryPrimitives.WriteUInt32BigEndian(flags, (uint)(entry.Flags | BitmapFlags.InUse));
        }

        return true;
    }

    private ImageBitmaps Read(ReadOnlySpan<byte> directory, BitmapsExtension bitmaps)
    {
        try
        {
            return ImageBitmaps.Of(directory, bitmaps, context.Header);
        }
        catch (ImageFormatException damage)
        {
            return ImageBitmaps.None with { Damage = damage.Why };
        }
    }

    /// <summary>Whole units of what the file takes.</summary>
    private int DirectoryLength(BitmapsExtension bitmaps) =>
        (bitmaps.DirectorySize + context.WriteUnit - 1) / context.WriteUnit * context.WriteUnit;
}
