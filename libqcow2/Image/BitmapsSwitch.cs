using Qcow2Blk.Format;

namespace Qcow2Blk.Image;

/// <summary>Another bitmap directory, to become the image's with the same write as something else.</summary>
/// <param name="Extension">where it is; null for no bitmaps</param>
internal sealed record BitmapsSwitch(BitmapsExtension? Extension);
