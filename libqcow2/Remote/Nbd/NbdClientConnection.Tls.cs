using System;
using System.Buffers;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>TLS between the socket and the protocol, from NBD_OPT_STARTTLS on.</summary>
internal sealed partial class NbdClientConnection
{
    private const int CipherBytes = 64 << 10;

    private TlsSession? _tls;
    private NativeBuffer _cipherIn;
    private NativeBuffer _cipherOut;
    private int _cipherStart;
    private int _cipherEnd;

    /// <summary>Whom to believe; null if the connection is not encrypted.</summary>
    public TlsTrust? Trust { get; init; }

    /// <summary>The server has agreed. What it, or somebody before it, sent already cannot be its word.</summary>
    private void StartTls()
    {
        if (_inStart != _inEnd)
        {
            Fail(Broken("it sends data in clear after it agreed to TLS"));
            return;
        }

        _tls = Trust?.NewSession();
        if (_tls is null)
        {
            Fail(Lost("TLS cannot begin: no certificate can be for such a host, or no memory is left"));
            return;
        }

        _cipherIn = _loop.Buffers.Rent(CipherBytes);
        _cipherOut = _loop.Buffers.Rent(CipherBytes);
        Decrypt();
    }

    private void ReceivedCipher(int bytes)
    {
        if (_tls!.Put(_cipherIn.Span[..bytes]))
            Decrypt();
        else
            Fail(Lost("no memory is left for TLS"));
    }

    /// <summary>Takes all that the session has, straight to where it belongs.</summary>
    private void Decrypt()
    {
        if (!_tls!.IsEstablished && !ShakeHands())
            return;
        while (_failure is null)
        {
            var payload = _replies?.Payload ?? default;
            MakeRoom();
            var target = payload.IsEmpty ? _inbox.Slice(_inEnd) : payload;
            var need = _tls.Read(target.Span, out var bytes);
            if (need == TlsNeed.Input)
                break;
            if (need != TlsNeed.Nothing)
                Fail(Lost(need == TlsNeed.Closed ? "the server closed the connection" : $"TLS failed: {_tls.WhyFailed}"));
            else if (payload.IsEmpty)
                _inEnd += bytes;
            else if (_replies!.Filled(bytes) is { } wrong)
                Fail(Broken(wrong));
            Process();
        }

        PostFlush();
    }

    /// <returns>whether data may go from now on</returns>
    private bool ShakeHands()
    {
        var need = _tls!.Handshake();
        PostFlush();
        if (need == TlsNeed.Input)
            return false;
        if (need != TlsNeed.Nothing)
        {
            // What the library has to say to the server, it should hear: why it is not believed.
            Flush();
            Fail(new FetchResult(_tls.IsUntrusted ? FetchStatus.Denied : FetchStatus.Unavailable, $"TLS failed: {_tls.WhyFailed}"));
            return false;
        }

        var output = new ArrayBufferWriter<byte>();
        _handshake.AfterTls(output);
        QueueBytes(output.WrittenSpan);
        return true;
    }

    /// <summary>What waits for the socket, encrypted.</summary>
    private NativeBuffer NextCipher()
    {
        if (_tls!.IsEstablished && _outStart < _outEnd)
        {
            if (!_tls.Write(_outbox.Span[_outStart.._outEnd]))
            {
                Fail(Lost($"TLS failed: {_tls.WhyFailed}"));
                return default;
            }

            _outStart = _outEnd = 0;
        }

        if (_cipherStart == _cipherEnd)
            (_cipherStart, _cipherEnd) = (0, _tls.Take(_cipherOut.Span));
        return _cipherOut.Slice(_cipherStart, _cipherEnd - _cipherStart);
    }

    private void EndTls()
    {
        _tls?.Dispose();
        if (!_cipherIn.IsEmpty)
            _loop.Buffers.Return(_cipherIn);
        if (!_cipherOut.IsEmpty)
            _loop.Buffers.Return(_cipherOut);
    }
}
