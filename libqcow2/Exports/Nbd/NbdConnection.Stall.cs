using System;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>
/// Ends clients that stop in the middle: of the handshake, of a request, of reading replies. One that is idle between requests
/// is left alone, and so is the kernel, whose requests are our own host's. While requests are held it is not the client that
/// keeps the connection waiting; nor is it where nothing is received, as requests wait for memory or for replies to go out.
/// </summary>
internal sealed partial class NbdConnection
{
    private StallClock _handshakeClock;
    private StallClock _receiveClock;
    private StallClock _sendClock;
    private int _received;
    private int _sent;
    private bool _isCutOff;

    /// <summary>One look a second. Its loop.</summary>
    /// <returns>whether to look again: something was begun and is not complete</returns>
    public bool LookForStall()
    {
        if (_closing || _guard is not null)
            return false;
        var limits = _loop.Limits;
        var pressed = _share.IsPressed ? limits.PressedSeconds : int.MaxValue;
        var inHandshake = _session is null;
        if (_handshakeClock.Look(inHandshake, 0) >= limits.HandshakeSeconds)
            return EndStalled($"whose handshake took more than {limits.HandshakeSeconds} s");
        var receives = IsInTheMiddle;
        if (_receiveClock.Look(receives, _received) is var still && still >= Math.Min(pressed, limits.ReceiveSeconds))
            return EndStalled($"whose client stopped in the middle of a request for {still} s");
        if (_sendClock.Look(_send.IsBusy, _sent) is var unread && unread >= Math.Min(pressed, limits.SendSeconds))
            return EndStalled($"whose client did not read its replies for {unread} s");
        return inHandshake || receives || _send.IsBusy || _share.IsWaiting;
    }

    /// <summary>Whether the rest of a request is waited for, and nothing else.</summary>
    private bool IsInTheMiddle =>
        _receive.IsBusy && !_loop.Gate.Held && (_payloadOf is not null || _drain > 0 || _isCutOff);

    private bool EndStalled(string which)
    {
        _report($"closing a connection {which}");
        Close();
        return false;
    }
}
