using System;

namespace Qcow2Blk.Exports;

/// <summary>Why a disk cannot be offered in the way asked for.</summary>
public enum ExportRefusal
{
    /// <summary>The kernel lacks what it takes.</summary>
    Unavailable,

    /// <summary>This process lacks the right.</summary>
    Denied,

    /// <summary>Somebody else has it: a device number, an address.</summary>
    Busy,

    /// <summary>The kernel refused for another reason.</summary>
    Failed,
}

/// <summary>An export that cannot be made. Lower case, no full stop, on one line.</summary>
internal sealed class ExportRefusedException(ExportRefusal refusal, string why, string? hint = null) : Exception(why)
{
    public ExportRefusal Refusal { get; } = refusal;

    /// <summary>The negative errno that says it best; 0 where the refusal has to do.</summary>
    public int Error { get; init; }

    /// <summary>What the user can do about it, if that is known.</summary>
    public string? Hint { get; } = hint;
}
