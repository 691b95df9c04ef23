using System;
using System.IO;
using System.Net;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>Whom the connections of a source believe, who the server has to be, and as whom they come.</summary>
internal sealed class TlsTrust : IDisposable
{
    private const string AuthoritiesName = "ca-cert.pem", CertificateName = "client-cert.pem", KeyName = "client-key.pem";

    private const UnixFileMode Strangers = UnixFileMode.OtherRead | UnixFileMode.OtherWrite;

    private readonly string _host;
    private nint _context;

    private TlsTrust(string host, nint context) => (_host, _context) = (host, context);

    /// <summary>Reads the certificates of authorities, of the system's only where they are; and who the client is.</summary>
    /// <param name="host">the server's name or address</param>
    /// <param name="authorities">a file of certificates (PEM); null for those of the directory or of the system</param>
    /// <param name="directory">
    /// has ca-cert.pem, client-cert.pem and client-key.pem, as for qemu and libnbd; null if the client shows no certificate
    /// </param>
    /// <param name="trust">the trust</param>
    /// <returns>null, or why there is no TLS</returns>
    public static string? Create(string host, string? authorities, string? directory, out TlsTrust? trust)
    {
        trust = null;
        if (LibSsl.Load() is { } missing)
            return $"TLS needs OpenSSL: {missing}";
        if (directory is not null && !Directory.Exists(directory))
            return $"there is no directory {directory}";
        if (authorities is null && directory is not null && Path.Combine(directory, AuthoritiesName) is var own && File.Exists(own))
            authorities = own;
        if (LibSsl.NewContext(authorities, out var context) is { } why)
            return $"the certificates of authorities{(authorities is null ? "" : $" in {authorities}")} cannot be read: {why}";
        if (directory is not null && SetIdentity(context, directory) is { } wrong)
        {
            LibSsl.FreeContext(ref context);
            return wrong;
        }

        trust = new TlsTrust(host, context);
        return null;
    }

    /// <summary>The client's certificate and key, if the directory has them: both or none.</summary>
    private static string? SetIdentity(nint context, string directory)
    {
        var (certificate, key) = (Path.Combine(directory, CertificateName), Path.Combine(directory, KeyName));
        if (!File.Exists(certificate) && !File.Exists(key))
            return null;
        try
        {
            using var file = File.OpenHandle(key);

            // As of any secret: what everybody can read is none, and what everybody can write is not the owner's.
            if ((File.GetUnixFileMode(file) & Strangers) != 0)
                return $"{key} can be read or written by everybody: chmod o-rw";

            // By its descriptor: it is the file that was looked at.
            return LibSsl.SetIdentity(context, certificate, $"/proc/self/fd/{file.DangerousGetHandle()}", out var isKey) is { } why
                ? $"{(isKey ? key : certificate)} cannot be used: {why}" : null;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return $"{key} cannot be read: {error.Message}";
        }
    }

    /// <summary>A session for a connection; null if there is no memory, or no certificate can be for such a host.</summary>
    public TlsSession? NewSession()
    {
        var session = LibSsl.NewSession(_context, _host, IPAddress.TryParse(_host, out _), out var input, out var output);
        return session == 0 ? null : new TlsSession(session, input, output);
    }

    public void Dispose() => LibSsl.FreeContext(ref _context);
}
