using Qcow2Blk.Buffers;

namespace Qcow2Blk.Remote.Http;

/// <summary>What a request asks for, and what is known of the object.</summary>
/// <param name="Start">the first byte</param>
/// <param name="Buffer">as many bytes as are asked for; at the first look at an object, as many as there may be</param>
/// <param name="Known">what the object is; null at the first look</param>
/// <param name="NeedsVersion">whether an object without a version is refused at the first look</param>
/// <param name="Handle">of the read that it is for; null if nobody calls it off</param>
internal readonly record struct RangeRequest(
    long Start, NativeBuffer Buffer, SourceIdentity? Known, bool NeedsVersion, ReadHandle? Handle = null)
{
    public long End => Start + Buffer.Length - 1;

    public override string ToString() => $"bytes {Start}-{End}";
}
