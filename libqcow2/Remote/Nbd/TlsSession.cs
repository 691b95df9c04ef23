using System;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>TLS of one connection: what came goes in, what is to be sent comes out; others move both.</summary>
internal sealed class TlsSession(nint session, nint input, nint output) : IDisposable
{
    private nint _session = session;

    /// <summary>Whether the server is who it has to be, and both have keys.</summary>
    public bool IsEstablished { get; private set; }

    /// <summary>Whether it failed as the server is not who it has to be.</summary>
    public bool IsUntrusted => LibSsl.IsUntrusted(_session);

    public string WhyFailed => LibSsl.WhyFailed(_session);

    /// <summary>Goes on with the handshake; there may be something to send then.</summary>
    public TlsNeed Handshake()
    {
        var need = LibSsl.Handshake(_session);
        IsEstablished = need == TlsNeed.Nothing;
        return need;
    }

    /// <summary>Bytes that came from the server.</summary>
    public bool Put(ReadOnlySpan<byte> bytes) => LibSsl.Put(input, bytes);

    /// <summary>Bytes for the server; 0 if there are none.</summary>
    public int Take(Span<byte> target) => LibSsl.Take(output, target);

    public TlsNeed Read(Span<byte> target, out int bytes) => LibSsl.Read(_session, target, out bytes);

    public bool Write(ReadOnlySpan<byte> bytes) => LibSsl.Write(_session, bytes);

    public void Dispose()
    {
        if (_session != 0)
            LibSsl.FreeSession(_session);
        _session = 0;
    }
}
