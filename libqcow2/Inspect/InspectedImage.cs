using System;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Format;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Inspect;

/// <summary>One file of a backing chain with what its header and tables say. Nothing is cached for later: it may be changing.</summary>
internal sealed class InspectedImage : IDisposable
{
    private InspectedImage(InspectedFile file, Header? header)
    {
        File = file;
        Header = header;
    }

    public InspectedFile File { get; }

    /// <summary>Null for a raw image.</summary>
    public Header? Header { get; }

    public string FormatName => ImageFormats.Words.Of(Header is null ? ImageFormat.Raw : ImageFormat.Qcow2);

    /// <summary>Bytes of the virtual disk, a multiple of 512 as qemu rounds them: raw up, qcow2 down.</summary>
    public long DiskSize => Header is null ? Rounding.Up(File.Length, 512) : Rounding.Down(Header.Size, 512);

    /// <summary>Whether data clusters may lie in holes of the file, which read as zeroes: not if they are decrypted.</summary>
    internal bool LeavesHoles => Header is { CryptMethod: 0 } && Preallocation.LeavesHoles(File.Length, File.Allocated, Header.ClusterSize);

    /// <exception cref="IOException">the file cannot be read</exception>
    /// <exception cref="ImageFormatException">it is not what it should be</exception>
    public static InspectedImage Open(string path, ImageFormat format)
    {
        var file = InspectedFile.Open(path);
        try
        {
            return new InspectedImage(file, format == ImageFormat.Qcow2 ? ReadHeader(file) : null);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The snapshots of a qcow2 image.</summary>
    /// <exception cref="ImageFormatException">the table is cut off or breaks a limit</exception>
    public IReadOnlyList<SnapshotEntry> ReadSnapshots()
    {
        if (Header is null || Header.SnapshotCount == 0)
            return [];
        var table = ReadRange(Header.SnapshotsOffset, SnapshotTable.MaxBytes(Header.SnapshotCount, Header.SnapshotsOffset, File.Length));
        return SnapshotTable.Parse(table, Header.SnapshotCount, File.Path, out _);
    }

    /// <summary>The persistent bitmaps of a qcow2 image, as far as they can be trusted.</summary>
    /// <exception cref="ImageFormatException">the directory is past the end of the file, cut off or breaks a limit</exception>
    public IReadOnlyList<BitmapEntry> ReadBitmaps()
    {
        if (Header?.Bitmaps is not { } bitmaps)
            return [];
        if (bitmaps.DirectoryOffset.Value > File.Length - bitmaps.DirectorySize)
        {
            throw new ImageFormatException(File.Path, "bitmap_directory_offset",
                $"bitmap directory at {bitmaps.DirectoryOffset} with {bitmaps.DirectorySize} bytes ends past the file (size"
                    + $" {File.Length})");
        }

        return BitmapDirectory.Parse(ReadRange(bitmaps.DirectoryOffset, bitmaps.DirectorySize), bitmaps, Header);
    }

    /// <summary>As <see cref="ReadBitmaps"/>, where an image with damaged bitmaps is as good as before.</summary>
    /// <param name="damage">why they cannot be read; null if they were</param>
    public IReadOnlyList<BitmapEntry> ReadBitmaps(out string? damage)
    {
        damage = null;
        try
        {
            return ReadBitmaps();
        }
        catch (ImageFormatException error)
        {
            damage = error.Why;
        }
        catch (IOException error)
        {
            damage = HouseStyle.Of(error.Message);
        }

        return [];
    }

    /// <summary>The LUKS header of an image that has one.</summary>
    /// <param name="damage">why it cannot be read; null if it was, or there is none</param>
    public LuksHeader? ReadLuksHeader(out string? damage)
    {
        damage = null;
        if (Header?.Encryption is not { } pointer)
            return null;
        try
        {
            if (pointer.Offset.Value <= File.Length - LuksHeader.Length)
                return LuksHeader.Parse(ReadRange(pointer.Offset, LuksHeader.Length), pointer.Bytes, File.Path);
            damage = $"encryption header at {pointer.Offset} ends past the file (size {File.Length})";
        }
        catch (ImageFormatException error)
        {
            damage = error.Why;
        }
        catch (IOException error)
        {
            damage = HouseStyle.Of(error.Message);
        }

        return null;
    }

    public void Dispose() => File.Dispose();

    private byte[] ReadRange(HostOffset offset, int length)
    {
        var bytes = new byte[length];
        File.Read(offset.Value, bytes);
        return bytes;
    }

    private static Header ReadHeader(InspectedFile file)
    {
        var start = new byte[(int)Math.Min(file.Length, Header.MaxParseBytes)];
        file.Read(0, start);
        try
        {
            return Header.Parse(start, file.Path);
        }
        catch (ImageFormatException error) when (error.Field is "magic" or "version")
        {
            var end = new byte[(int)Math.Min(file.Length, FileKind.EndBytes)];
            file.Read(file.Length - end.Length, end);
            throw FileKind.Refusal(file.Path, start, end) ?? error;
        }
    }
}
