using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image;

/// <summary>An operation on an image that takes long while its disk is used: only the first and the last step hold requests back.</summary>
internal interface ILongEdit
{
    /// <summary>Nobody uses the disk. If it is refused, there are no other steps.</summary>
    LoopTask<EditAnswer> BeginAsync();

    /// <summary>The disk is used. Whatever comes of it, the last step follows, or <see cref="GiveUpAsync"/>.</summary>
    LoopTask<EditAnswer> WorkAsync();

    /// <summary>Nobody uses the disk. The answer is that of the operation.</summary>
    LoopTask<EditAnswer> EndAsync();

    /// <summary>Instead of the last step, if the disk cannot be had for that: what was done is taken back as far as it can be.</summary>
    LoopTask<int> GiveUpAsync();

    /// <summary>Makes the work end early. Any thread.</summary>
    void Cancel();
}
