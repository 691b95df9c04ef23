using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports;

/// <summary>
/// Somebody who flushes, and what it was told of lost writes: an NBD connection, or the kernel with its block device. Each
/// hears of each loss at its next flush, as each may have written what is lost. Used on the home loop.
/// </summary>
/// <param name="served">what it uses</param>
/// <param name="told">losses before it came, which were not its own</param>
internal sealed class FlushClient(ServedDisk served, int told)
{
    private int _told = told;

    /// <summary>Whether something was lost that this client has not been told of. Any thread.</summary>
    public bool HasUntold => _told != served.Losses;

    /// <returns>0, or -EIO with which a flush must fail, once for what was lost since the last call</returns>
    public int TakeLoss()
    {
        var losses = served.Losses;
        if (_told == losses)
            return 0;
        _told = losses;
        return -Errno.EIO;
    }
}
