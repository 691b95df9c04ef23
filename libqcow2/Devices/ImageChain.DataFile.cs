using System.IO;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Format;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Devices;

/// <summary>External data files.</summary>
internal sealed partial class ImageChain
{
    /// <summary>Opens and locks the external data file of the image opened last; the same trust as in backing files.</summary>
    /// <returns>null if it has none</returns>
    private async LoopTask<IBlockStorage?> OpenDataFileAsync(Header header, bool readOnly)
    {
        var given = _files.Count == 1 ? _options.DataFile : null;
        if (!header.Incompatible.HasFlag(IncompatibleFeatures.DataFile))
            return given is null ? null : throw BadData(header, $"the image has no external data file; --data-file {given} is not its");
        if (given is null && _given.Count > 0)
            throw BadData(header, "the image was given as a descriptor: its data file has to be named with data-file");
        if (given is null && _options.NoBacking)
            throw BadData(header, $"the image names the data file \"{header.DataFileName}\", and --no-backing allows no other file");
        using var found = FindDataFile(header, given ?? DataFilePath.Resolve(header));
        if (given is null && _options.BackingDirectories.Count > 0 && !_options.BackingDirectories.Any(found.LiesIn))
            throw BadData(header, $"data file {found.RealName} is not in a directory given with --backing-dir");
        if (!_seen.Add(found.Identity))
            throw BadData(header, $"{found.RealName} cannot be its data file: it is an image of the chain");
        var direct = _options.Cache == CacheMode.None && _files[^1].Direct;
        var data = OpenFile(found, readOnly, direct);
        if (!readOnly && header.Size % data.OffsetAlignment != 0)
        {
            // A whole sector written at the end would make the file longer than the disk.
            data.Dispose();
            data = OpenFile(found, readOnly, direct: false);
        }

        try
        {
            data.Lock = await _locks.AcquireAsync(data.Descriptor, data.Path, write: !readOnly);
            return data;
        }
        catch
        {
            data.Dispose();
            throw;
        }
    }

    private static FoundFile FindDataFile(Header header, string path)
    {
        try
        {
            return Find(path);
        }
        catch (FileNotFoundException)
        {
            throw new ImageFormatException(header.Path, "data_file", $"external data file {path} does not exist") { IsMissing = true };
        }
    }

    private static ImageFormatException BadData(Header header, string why) => new(header.Path, "data_file", why);
}
