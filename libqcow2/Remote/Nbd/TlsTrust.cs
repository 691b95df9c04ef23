using System;
using System.Net;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>Whom the connections of a source believe, and who the server has to be.</summary>
internal sealed class TlsTrust : IDisposable
{
    private readonly string _host;
    private nint _context;

    private TlsTrust(string host, nint context) => (_host, _context) = (host, context);

    /// <summary>Reads the certificates of authorities; of the system's only where they are.</summary>
    /// <param name="host">the server's name or address</param>
    /// <param name="authorities">a file of certificates (PEM); null for those of the system</param>
    /// <param name="trust">the trust</param>
    /// <returns>null, or why there is no TLS</returns>
    public static string? Create(string host, string? authorities, out TlsTrust? trust)
    {
        trust = null;
        if (LibSsl.Load() is { } missing)
            return $"TLS needs OpenSSL: {missing}";
        if (LibSsl.NewContext(authorities, out var context) is { } why)
            return $"the certificates of authorities{(authorities is null ? "" : $" in {authorities}")} cannot be read: {why}";
        trust = new TlsTrust(host, context);
        return null;
    }

    /// <summary>A session for a connection; null if there is no memory, or no certificate can be for such a host.</summary>
    public TlsSession? NewSession()
    {
        var session = LibSsl.NewSession(_context, _host, IPAddress.TryParse(_host, out _), out var input, out var output);
        return session == 0 ? null : new TlsSession(session, input, output);
    }

    public void Dispose() => LibSsl.FreeContext(ref _context);
}
