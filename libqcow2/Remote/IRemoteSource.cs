using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote;

/// <summary>
/// An object in a store, or an export of a server, that a base is read from. One attempt per call, within the timeouts of
/// <see cref="SourceTimeouts"/>: who calls decides whether to try again. On the home loop; several calls may be under way.
/// </summary>
internal interface IRemoteSource
{
    /// <summary>Its URL without credentials and query: for messages, the status, and the identity of a cache.</summary>
    string Name { get; }

    /// <summary>Requests that are worth having under way at a time.</summary>
    int Depth { get; }

    /// <summary>What was opened; null before the first <see cref="OpenAsync"/> that succeeded.</summary>
    SourceIdentity? Identity { get; }

    /// <summary>
    /// Finds out what the object is, by reading its first bytes. After the first success, it must be the same again:
    /// otherwise <see cref="FetchStatus.Changed"/>.
    /// </summary>
    /// <param name="expected">what it has to be, known from a cache; null if nothing is known</param>
    LoopTask<FetchResult> OpenAsync(SourceIdentity? expected);

    /// <summary>Reads a range that lies in the object. Until the task ends, the memory belongs to the source.</summary>
    /// <param name="offset">in bytes</param>
    /// <param name="buffer">filled wholly if the attempt succeeds; anything may be in it if not</param>
    /// <returns><see cref="FetchResult.Zeroes"/> if the source knew, and nothing had to be sent</returns>
    LoopTask<FetchResult> ReadAsync(long offset, NativeBuffer buffer);

    /// <summary>Whether a read may go over a connection of its own, see <see cref="ReadHandle.NeedsOwnWay"/>.</summary>
    bool HasOwnWays => false;

    /// <summary>As the other. A source that cannot call a read off lets it run to its end.</summary>
    /// <param name="offset">in bytes</param>
    /// <param name="buffer">filled wholly if the attempt succeeds; anything may be in it if not</param>
    /// <param name="handle">of the caller; one for each read</param>
    LoopTask<FetchResult> ReadAsync(long offset, NativeBuffer buffer, ReadHandle handle) => ReadAsync(offset, buffer);

    /// <summary>Ends what is under way with <see cref="FetchStatus.Unavailable"/>, and lets go of all connections.</summary>
    LoopTask<int> CloseAsync();
}
