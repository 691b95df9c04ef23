using System;
using System.IO;
using System.Linq;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Nbd;
using Xunit;
using static Qcow2Blk.Tests.Remote.Nbd.ServerEnd;

namespace Qcow2Blk.Tests.Remote.Nbd;

/// <summary>nbds:// to the servers of others, and to those that are not who they have to be.</summary>
public sealed class TlsTests
{
    [Theory]
    [InlineData("localhost")]
    [InlineData("127.0.0.1")]
    public void Nbdkit_with_tls_serves_what_the_file_holds(string host)
    {
        using var certificates = new Certificates();
        using var server = Nbdkit(certificates);
        using var scene = Scene(server, certificates, host);

        for (var round = 0; round < 3; round++)
            ReadAll(scene);
        Assert.True(scene.Source.Connections > 1);
    }

    [Fact]
    public void Qemu_nbd_with_tls_serves_what_the_file_holds()
    {
        using var certificates = new Certificates();
        using var server = RealServer.QemuNbdTcp("--object", Credentials(certificates), "--tls-creds=tls0", "--export-name=", "--shared=8");
        using var scene = Scene(server, certificates);

        ReadAll(scene);
    }

    [Fact]
    public void Old_protocol_of_tls_is_refused()
    {
        using var certificates = new Certificates();
        using var server = RealServer.QemuNbdTcp("--object", Credentials(certificates)
            + ",priority=NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT", "--tls-creds=tls0", "--export-name=");
        using var scene = Scene(server, certificates);

        Assert.Contains("TLS failed", scene.Open().Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Server_of_another_authority_is_refused()
    {
        using var certificates = new Certificates();
        using var others = new Certificates();
        using var server = Nbdkit(certificates);
        using var scene = Scene(server, others);

        RefusesCertificate(scene, "certificate");
    }

    /// <summary>The system's authorities do not know ours.</summary>
    [Fact]
    public void Server_that_nobody_vouches_for_is_refused()
    {
        using var certificates = new Certificates();
        using var server = Nbdkit(certificates);
        using var scene = new SourceScene($"nbds://localhost:{server.Port}/");

        RefusesCertificate(scene, "issuer certificate");
    }

    [Fact]
    public void Certificate_that_has_expired_is_refused()
    {
        using var certificates = new Certificates(days: -1);
        using var server = Nbdkit(certificates);
        using var scene = Scene(server, certificates);

        RefusesCertificate(scene, "certificate has expired");
    }

    [Theory]
    [InlineData("localhost", "hostname mismatch")]
    [InlineData("127.0.0.1", "IP address mismatch")]
    public void Certificate_of_another_host_is_refused(string host, string why)
    {
        using var certificates = new Certificates("store.example", "192.0.2.1");
        using var server = Nbdkit(certificates);
        using var scene = Scene(server, certificates, host);

        RefusesCertificate(scene, why);
    }

    [Fact]
    public void Server_without_tls_is_refused()
    {
        using var certificates = new Certificates();
        using var server = RealServer.NbdkitTcp("file", "DISK");
        using var scene = Scene(server, certificates);

        var result = scene.Open();

        Assert.Equal(FetchStatus.Unfit, result.Status);
        Assert.Contains("does not support TLS", result.Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Server_that_requires_tls_says_so()
    {
        using var certificates = new Certificates();
        using var server = Nbdkit(certificates);
        using var scene = new SourceScene($"nbd://localhost:{server.Port}/");

        Assert.Contains("requires TLS, which nbds:// uses", scene.Open().Why, StringComparison.Ordinal);
    }

    [Fact]
    public void Data_in_clear_behind_the_agreement_is_refused()
    {
        using var certificates = new Certificates();
        using var server = new ScriptedServer(end =>
        {
            end.Greet();
            end.Option();
            end.Send(Join(U64(0x0003e889045565a9), U32(5), U32(1), U32(0), U64(0x0003e889045565a9)));
            end.Idle();
        });
        using var scene = Scene(server.Port, certificates);

        Assert.Contains("in clear after it agreed to TLS", scene.Open().Why, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(5)]
    [InlineData(5000)]
    public void Server_that_agrees_and_then_stalls_or_babbles_is_given_up(int babble)
    {
        using var certificates = new Certificates();
        using var server = new ScriptedServer(end =>
        {
            end.Greet();
            end.Option();
            end.Reply(5, 1);
            end.Receive(5);
            end.Send(new byte[babble]);
            end.Idle();
        });
        using var scene = Scene(server.Port, certificates, times: SourceScene.Impatient);

        Assert.Equal(FetchStatus.Unavailable, scene.Open().Status);
    }

    [Fact]
    public void Authorities_that_cannot_be_read_are_an_error_before_anything_is_connected()
    {
        var settings = new RemoteSettings { CertificateAuthorities = "/nonexistent/ca.pem" };
        Assert.Null(RemoteLocation.Parse("nbds://store/", out var location));

        var why = NbdSource.Create(location!, settings, _ => { }, out var source);

        Assert.Contains("/nonexistent/ca.pem cannot be read", why, StringComparison.Ordinal);
        Assert.Null(source);
    }

    [Fact]
    public void Authorities_without_a_certificate_are_an_error()
    {
        var path = Path.GetTempFileName();
        File.WriteAllText(path, "nothing\n");
        Assert.Null(RemoteLocation.Parse("nbds://store/", out var location));

        var why = NbdSource.Create(location!, new RemoteSettings { CertificateAuthorities = path }, _ => { }, out _);

        File.Delete(path);
        Assert.Contains("cannot be read", why, StringComparison.Ordinal);
    }

    private static void RefusesCertificate(SourceScene scene, string why)
    {
        var result = scene.Open();

        Assert.Equal(FetchStatus.Denied, result.Status);
        Assert.Contains("TLS failed: its certificate: ", result.Why, StringComparison.Ordinal);
        Assert.Contains(why, result.Why, StringComparison.Ordinal);
        Assert.Null(scene.Source.Identity);
    }

    private static string Credentials(Certificates certificates) =>
        $"tls-creds-x509,id=tls0,endpoint=server,verify-peer=no,dir={certificates.Directory}";

    private static RealServer Nbdkit(Certificates certificates) =>
        RealServer.NbdkitTcp("--tls=require", $"--tls-certificates={certificates.Directory}", "file", "DISK");

    private static SourceScene Scene(RealServer server, Certificates certificates, string host = "localhost") =>
        new($"nbds://{host}:{server.Port}/", new RemoteSettings { CertificateAuthorities = certificates.Authority });

    private static SourceScene Scene(int port, Certificates certificates, NbdTimes? times = null) =>
        new($"nbds://127.0.0.1:{port}/", new RemoteSettings { CertificateAuthorities = certificates.Authority }, times);

    private static void ReadAll(SourceScene scene)
    {
        var ranges = Enumerable.Range(0, 60).Select(i => (Offset: i * 67001L, Length: 1 + (i * 1777))).ToArray();
        var results = scene.ReadTogether(ranges);
        for (var i = 0; i < results.Length; i++)
        {
            Assert.True(results[i].Result.IsDone, results[i].Result.Why);
            Assert.Equal(RealServer.Expected((int)ranges[i].Offset, ranges[i].Length), results[i].Bytes);
        }

        var (result, bytes) = scene.Read(0, RealServer.Size);
        Assert.True(result.IsDone, result.Why);
        Assert.Equal(RealServer.Expected(0, RealServer.Size), bytes);
    }
}
