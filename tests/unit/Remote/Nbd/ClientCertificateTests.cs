using System;
using System.IO;
using System.Security.Cryptography;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Nbd;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Nbd;

/// <summary>nbds:// to servers that want to know who the client is.</summary>
public sealed class ClientCertificateTests : IDisposable
{
    private readonly Certificates _certificates = new();

    public void Dispose() => _certificates.Dispose();

    [Fact]
    public void Nbdkit_that_verifies_clients_serves_the_one_with_a_certificate()
    {
        using var server = Nbdkit();
        using var scene = new SourceScene(Url(server, _certificates.Directory));

        AssertReads(scene);
    }

    [Fact]
    public void Qemu_nbd_that_verifies_clients_serves_the_one_with_a_certificate()
    {
        using var server = RealServer.QemuNbdTcp("--object",
            $"tls-creds-x509,id=tls0,endpoint=server,verify-peer=yes,dir={_certificates.Directory}", "--tls-creds=tls0", "--export-name=");
        using var scene = new SourceScene(Url(server, _certificates.Directory));

        AssertReads(scene);
    }

    [Fact]
    public void Client_without_a_certificate_gets_nothing()
    {
        using var server = Nbdkit();
        using var scene = new SourceScene($"nbds://localhost:{server.Port}/",
            new RemoteSettings { CertificateAuthorities = _certificates.Authority });

        Assert.False(scene.Open().IsDone);
        Assert.Null(scene.Source.Identity);
    }

    [Fact]
    public void Client_with_a_certificate_of_another_authority_gets_nothing()
    {
        using var others = new Certificates();
        using var server = Nbdkit();
        using var scene = new SourceScene(Url(server, others.Directory),
            new RemoteSettings { CertificateAuthorities = _certificates.Authority });

        Assert.False(scene.Open().IsDone);
    }

    [Fact]
    public void Directory_with_authorities_alone_is_enough_for_a_server_that_asks_for_none()
    {
        File.Delete(_certificates.ClientCertificate);
        File.Delete(_certificates.ClientKey);
        using var server = RealServer.NbdkitTcp("--tls=require", $"--tls-certificates={_certificates.Directory}", "file", "DISK");
        using var scene = new SourceScene(Url(server, _certificates.Directory));

        AssertReads(scene);
    }

    [Theory]
    [InlineData(UnixFileMode.OtherRead)]
    [InlineData(UnixFileMode.OtherWrite)]
    public void Key_that_everybody_can_use_is_refused(UnixFileMode right)
    {
        File.SetUnixFileMode(_certificates.ClientKey, UnixFileMode.UserRead | right);

        Assert.Contains("client-key.pem can be read or written by everybody: chmod o-rw", Refusal(), StringComparison.Ordinal);
    }

    [Fact]
    public void Certificate_without_its_key_is_refused()
    {
        File.Delete(_certificates.ClientKey);

        Assert.Contains("client-key.pem cannot be read", Refusal(), StringComparison.Ordinal);
    }

    [Fact]
    public void Key_without_its_certificate_is_refused()
    {
        File.Delete(_certificates.ClientCertificate);

        Assert.Contains("client-cert.pem cannot be used", Refusal(), StringComparison.Ordinal);
    }

    [Fact]
    public void Key_of_another_certificate_is_refused()
    {
        using var others = new Certificates();
        File.Copy(others.ClientKey, _certificates.ClientKey, overwrite: true);

        Assert.Contains("client-key.pem cannot be used: key values mismatch", Refusal(), StringComparison.Ordinal);
    }

    /// <summary>Nobody is there to type one.</summary>
    [Fact]
    public void Key_with_a_passphrase_is_refused_and_not_asked_for()
    {
        using var key = ECDsa.Create();
        key.ImportFromPem(File.ReadAllText(_certificates.ClientKey));
        File.WriteAllText(_certificates.ClientKey, key.ExportEncryptedPkcs8PrivateKeyPem("secret",
            new PbeParameters(PbeEncryptionAlgorithm.Aes256Cbc, HashAlgorithmName.SHA256, 1000)));

        Assert.Contains("client-key.pem cannot be used", Refusal(), StringComparison.Ordinal);
    }

    [Fact]
    public void Directory_that_is_not_there_is_an_error()
    {
        Assert.Null(RemoteLocation.Parse("nbds://store/?tls-certificates=/nonexistent/pki", out var location));

        Assert.Equal("there is no directory /nonexistent/pki", NbdSource.Create(location!, new RemoteSettings(), _ => { }, out _));
    }

    private static string Url(RealServer server, string directory) => $"nbds://localhost:{server.Port}/?tls-certificates={directory}";

    private static void AssertReads(SourceScene scene)
    {
        var (result, bytes) = scene.Read(0, RealServer.Size);
        Assert.True(result.IsDone, result.Why);
        Assert.Equal(RealServer.Expected(0, RealServer.Size), bytes);
    }

    private RealServer Nbdkit() => RealServer.NbdkitTcp(
        "--tls=require", $"--tls-certificates={_certificates.Directory}", "--tls-verify-peer", "file", "DISK");

    private string Refusal()
    {
        Assert.Null(RemoteLocation.Parse($"nbds://store/?tls-certificates={_certificates.Directory}", out var location));
        var why = NbdSource.Create(location!, new RemoteSettings(), _ => { }, out var source);
        Assert.Null(source);
        return why!;
    }
}
