namespace Qcow2Blk.Exports.Nbd;

/// <summary>Counts the looks in a row in which one direction of a connection was waited for, and nothing of it moved.</summary>
internal struct StallClock
{
    private int _seen;

    /// <param name="waits">whether it is for the client to go on</param>
    /// <param name="moved">a count that changes with every progress</param>
    /// <returns>looks without progress, this one included; 0 if there was some</returns>
    public int Look(bool waits, int moved)
    {
        var stands = waits && moved == _seen;
        _seen = moved;
        return Seconds = stands ? Seconds + 1 : 0;
    }

    public int Seconds { get; private set; }
}
