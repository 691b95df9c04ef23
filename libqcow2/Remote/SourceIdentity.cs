namespace Qcow2Blk.Remote;

/// <summary>What tells an object from every other that had, or will have, its name.</summary>
/// <param name="Length">its bytes</param>
/// <param name="Version">a strong entity tag, a version of the store; null if the source has none</param>
internal readonly record struct SourceIdentity(long Length, string? Version);
