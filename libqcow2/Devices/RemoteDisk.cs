using System.IO;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Logging;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;

namespace Qcow2Blk.Devices;

/// <summary>Looks at the disk in a base that nobody attaches.</summary>
internal static class RemoteDisk
{
    /// <summary>How large the disk is.</summary>
    /// <param name="location">where the base is</param>
    /// <param name="format">its format</param>
    /// <param name="log">told of trouble</param>
    /// <exception cref="IOException">the base cannot be read</exception>
    /// <exception cref="ImageFormatException">it is not what it should be</exception>
    public static long SizeOf(RemoteLocation location, ImageFormat format, ILog log)
    {
        var settings = RemoteOptions.Resolve(new AttachOptions { Image = "" }) with { CacheDirectory = null };
        var size = 0L;
        LoopForOne.Run(async () =>
        {
            using var storage = await new BaseOpening(settings, RemoteMakers.Real, log).OpenAsync(location);
            size = format == ImageFormat.Raw ? Rounding.Up(storage.Length, 512) : (await ImageOpener.ReadHeaderAsync(storage)).Size;
            return 0;
        });
        return size;
    }
}
