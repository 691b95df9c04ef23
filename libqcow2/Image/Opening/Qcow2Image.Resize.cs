using Qcow2Blk.Image.Resizing;

namespace Qcow2Blk.Image.Opening;

/// <summary>Another size.</summary>
internal sealed partial class Qcow2Image
{
    /// <summary>What makes the disk larger or smaller; null if the image is only read.</summary>
    public DiskResize? Resize => _writable is null ? null : new DiskResize(_writable.Resizing);
}
