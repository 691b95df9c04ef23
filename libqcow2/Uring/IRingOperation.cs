namespace Qcow2Blk.Uring;

/// <summary>What a completion is delivered to. One operation has at most one submission in flight.</summary>
internal interface IRingOperation
{
    /// <param name="result">the kernel's result: a count, or a negative errno</param>
    /// <param name="flags">IORING_CQE_F_*</param>
    void Completed(int result, uint flags);
}
