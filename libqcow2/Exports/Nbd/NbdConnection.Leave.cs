using System;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>
/// How a connection goes on in another process: its socket stays open, and with it goes what was received of requests that
/// have not begun. The client sees no end.
/// </summary>
internal sealed partial class NbdConnection
{
    private bool _leaving;

    /// <summary>
    /// Stops to serve, and passes the socket on when replies have gone out. The gate must be shut and nothing in progress.
    /// A connection that cannot be left (requests of it wait for space) is closed.
    /// </summary>
    public void Leave()
    {
        if (_closing || _leaving)
            return;
        _leaving = true;
        _stopReading = true;
        _receive.Cancel();
        LeaveIfIdle();
    }

    private void LeaveIfIdle()
    {
        if (_receive.IsBusy || _send.IsBusy || _send.HasBytes || _readyHead is not null || _flushPosted)
            return;
        var notBegun = _payloadOf ?? _heldRequest;
        if (_refused is not null || _unanswered != (notBegun is null ? 0 : 1))
        {
            Close();
            return;
        }

        var unserved = Unserved(notBegun);
        AbandonPayload();
        _closing = _closed = true;
        ReleaseAll();
        _guard!.Left(_slot, _socket, unserved);
    }

    /// <summary>The stream from the first request on that has not begun, as far as it was received.</summary>
    private byte[] Unserved(NbdRequest? notBegun)
    {
        var head = notBegun is null ? 0 : RequestHeader.CompactSize;
        var payload = notBegun is null ? default : notBegun.Buffer.Span[.._payloadReceived];
        var chunk = _chunk.Memory.Span[_chunk.Start.._chunk.End];
        var rest = _receive.Inherited;
        var bytes = new byte[head + payload.Length + chunk.Length + rest.Length];
        notBegun?.Header.WriteCompact(bytes);
        payload.CopyTo(bytes.AsSpan(head));
        chunk.CopyTo(bytes.AsSpan(head + payload.Length));
        rest.CopyTo(bytes.AsSpan(head + payload.Length + chunk.Length));
        return bytes;
    }
}
