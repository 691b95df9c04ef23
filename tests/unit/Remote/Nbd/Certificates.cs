using System;
using System.IO;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Qcow2Blk.Tests.Shared;

namespace Qcow2Blk.Tests.Remote.Nbd;

/// <summary>An authority, and certificates of it for a server and a client, in files as nbdkit and qemu-nbd want them.</summary>
internal sealed class Certificates : IDisposable
{
    private readonly TempDirectory _directory = new();

    /// <param name="name">the server's host name</param>
    /// <param name="address">the server's address; null for none</param>
    /// <param name="days">how long the certificate is valid from now on; negative: it was</param>
    public Certificates(string name = "localhost", string? address = "127.0.0.1", int days = 10)
    {
        var now = DateTimeOffset.UtcNow;
        using var authorityKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var authority = new CertificateRequest("CN=an authority of tests", authorityKey, HashAlgorithmName.SHA256);
        authority.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        authority.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        using var issuer = authority.CreateSelfSigned(now.AddDays(-100), now.AddDays(100));

        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var server = new CertificateRequest("CN=a server", key, HashAlgorithmName.SHA256);
        server.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        server.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        server.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1")], false));
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(name);
        if (address is not null)
            names.AddIpAddress(IPAddress.Parse(address));
        server.CertificateExtensions.Add(names.Build());
        using var certificate = server.Create(issuer, now.AddDays(-20), now.AddDays(days), [1, 2, 3, 4]);

        using var clientKey = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var client = new CertificateRequest("CN=a client", clientKey, HashAlgorithmName.SHA256);
        client.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        client.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, true));
        client.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.2")], false));
        using var clientCertificate = client.Create(issuer, now.AddDays(-20), now.AddDays(10), [1, 2, 3, 5]);
        File.WriteAllText(ClientCertificate, clientCertificate.ExportCertificatePem());
        File.WriteAllText(ClientKey, clientKey.ExportPkcs8PrivateKeyPem());
        File.SetUnixFileMode(ClientKey, UnixFileMode.UserRead | UnixFileMode.UserWrite);

        File.WriteAllText(Authority, issuer.ExportCertificatePem());
        File.WriteAllText(_directory.File("server-cert.pem"), certificate.ExportCertificatePem());
        File.WriteAllText(_directory.File("server-key.pem"), key.ExportPkcs8PrivateKeyPem());
    }

    public string Authority => _directory.File("ca-cert.pem");

    public string ClientCertificate => _directory.File("client-cert.pem");

    public string ClientKey => _directory.File("client-key.pem");

    public string Directory => Path.GetDirectoryName(Authority)!;

    public void Dispose() => _directory.Dispose();
}
