using Qcow2Blk.Interop;

namespace Qcow2Blk.Image;

/// <summary>How an edit of an image went.</summary>
internal enum EditResult
{
    Done,

    /// <summary>It was tried, or looked at, and cannot be done.</summary>
    Failed,

    /// <summary>It makes no sense for any image.</summary>
    Invalid,

    /// <summary>What it names is not there.</summary>
    NotFound,

    /// <summary>What it names is in use.</summary>
    Busy,
}

/// <summary>What comes of an edit. A refusal has changed nothing.</summary>
/// <param name="Result">done, or why not</param>
/// <param name="Why">the reason; null when it was done</param>
/// <param name="Hint">what the user can do about it, if that is known</param>
internal readonly record struct EditAnswer(EditResult Result, string? Why = null, string? Hint = null)
{
    public static EditAnswer Done { get; } = new(EditResult.Done);

    /// <summary>The negative errno that says it best; 0 where the result has to do.</summary>
    public int Error { get; init; }

    /// <summary>What was asked for, as JSON; null for an edit that only does something.</summary>
    public string? Json { get; init; }

    /// <summary>Something harmless worth saying of what was done.</summary>
    public string? Note { get; init; }

    public bool Succeeded => Result == EditResult.Done;

    public static EditAnswer Refused(EditResult result, string why, string? hint = null) => new(result, why, hint);

    /// <param name="error">a negative errno</param>
    /// <param name="what">what was being done</param>
    public static EditAnswer OfErrno(int error, string what) =>
        new(EditResult.Failed, $"{what}: {Errno.Text(error)}") { Error = error };
}
