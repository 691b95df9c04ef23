using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Options;

/// <summary>What happens to a write that the host has no space for.</summary>
internal enum EnospcPolicy
{
    /// <summary>It fails with ENOSPC.</summary>
    Report,

    /// <summary>It is held and tried again; <c>status</c> shows it.</summary>
    Stop,
}

internal static class EnospcPolicies
{
    public static EnumWords<EnospcPolicy> Words { get; } = new((EnospcPolicy.Report, "report"), (EnospcPolicy.Stop, "stop"));
}
