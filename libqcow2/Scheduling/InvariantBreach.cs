using System;

namespace Qcow2Blk.Scheduling;

/// <summary>
/// A rule of <see cref="Invariant"/> did not hold. Whoever holds a lock, an epoch or a buffer in flight catches it, so that
/// nothing stays held, and the disk that met it stops writing. It never leaves a disk.
/// </summary>
/// <param name="rule">the broken rule, with its values</param>
internal sealed class InvariantBreach(string rule) : Exception(rule);
