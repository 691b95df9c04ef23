using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Registry;

namespace Qcow2Blk.Cli.Dm;

/// <summary>The device that an image is the top of.</summary>
internal static class TopImage
{
    /// <param name="registry">where devices are</param>
    /// <param name="file">the image by any of its names</param>
    /// <returns>null if there is none; dead ones count: they are to be removed, too</returns>
    internal static DeviceEntry? Find(DeviceRegistry registry, string file)
    {
        var real = RealPath.Of(FilePath.Absolute(file));
        return registry.List().FirstOrDefault(entry => RealPath.Of(entry.Record.Image) == real);
    }
}
