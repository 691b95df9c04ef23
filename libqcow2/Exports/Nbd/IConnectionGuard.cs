namespace Qcow2Blk.Exports.Nbd;

/// <summary>
/// Watches over connections whose other end is the kernel's: it sends what one of them did not answer again on another, and
/// the older copy must not come after what followed the newer.
/// </summary>
internal interface IConnectionGuard
{
    /// <summary>
    /// Whether requests that have been received by now may begin. If not, the connections are told to look again
    /// (<see cref="NbdServer.ContinueAll"/>) when they may. Any loop.
    /// </summary>
    bool MayBegin();

    /// <summary>A connection has its first request. Its loop.</summary>
    void InUse(int slot);

    /// <summary>A connection has ended: none of its requests is in progress any more, none will begin. Its loop.</summary>
    void Ended(int slot);

    /// <summary>A connection was left for another process to go on with: nothing of it is in progress. Its loop.</summary>
    /// <param name="slot">which</param>
    /// <param name="socket">the open socket, the callee's from now on</param>
    /// <param name="unserved">bytes that were received and belong to requests that have not begun, before those still in the socket</param>
    void Left(int slot, int socket, byte[] unserved);
}
