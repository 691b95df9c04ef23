namespace Qcow2Blk.Exports.Ublk;

/// <summary>What all queues of a ublk device have in common.</summary>
/// <param name="Descriptor">the open <c>/dev/ublkcN</c></param>
/// <param name="Depth">tags of one queue</param>
/// <param name="DescriptorBytes">distance of two request descriptors</param>
/// <param name="MaximumBytes">the largest request</param>
/// <param name="Mode">never <see cref="UblkMode.Auto"/>: what the kernel agreed to</param>
/// <param name="NullIo">requests end without I/O</param>
internal sealed record UblkShape(
    int Descriptor, int Depth, int DescriptorBytes, int MaximumBytes, UblkMode Mode, bool NullIo);
