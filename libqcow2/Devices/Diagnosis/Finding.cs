using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Diagnosis;

/// <summary>How good what was found is.</summary>
internal enum Verdict
{
    Ok,

    /// <summary>Something works less well, or not at all, that not everybody needs.</summary>
    Warning,

    /// <summary>What most users want does not work.</summary>
    Problem,
}

internal static class Verdicts
{
    public static EnumWords<Verdict> Words { get; } = new((Verdict.Ok, "ok"), (Verdict.Warning, "warning"), (Verdict.Problem, "problem"));
}

/// <summary>One thing that was looked at.</summary>
/// <param name="Area">what it belongs to: kernel, rights, limits, tools</param>
/// <param name="Verdict">how good it is</param>
/// <param name="What">its name, the same on every machine</param>
/// <param name="Found">how it is</param>
/// <param name="Hint">what to do about it; null where there is nothing to do</param>
internal sealed record Finding(string Area, Verdict Verdict, string What, string Found, string? Hint = null);
