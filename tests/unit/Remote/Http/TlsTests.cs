using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using Qcow2Blk.Remote;
using Qcow2Blk.Tests.Shared;
using Xunit;
using static Qcow2Blk.Tests.Remote.Http.HostileTests;

namespace Qcow2Blk.Tests.Remote.Http;

/// <summary>https: who is believed, and who is not. Certificates are made by the openssl command.</summary>
public sealed class TlsTests : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly byte[] _bytes = SourceScene.Pattern(1 << 20);
    private readonly string _root;

    public TlsTests()
    {
        Assert.SkipWhen(NginxServer.Program is null, "nginx is not installed");
        Assert.SkipUnless(File.Exists("/usr/bin/openssl"), "openssl is not installed");
        _root = Directory.CreateDirectory(_directory.File("web")).FullName;
        File.WriteAllBytes(Path.Combine(_root, "base.raw"), _bytes);
        MakeAuthority("ca");
        MakeCertificate("server", "ca", "127.0.0.1");
    }

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Certificate_of_the_given_authority_is_believed_and_no_other()
    {
        using var server = new NginxServer(_root, _directory.File("server.pem"), _directory.File("server.key"));
        using (var scene = new SourceScene(server.Url("base.raw"), Trusting("ca")))
        {
            AssertDone(scene.Open());
            var ranges = Enumerable.Range(0, 30).Select(i => (Offset: i * 30_000L, Length: 100_000)).ToArray();
            var results = scene.Read(ranges);
            for (var i = 0; i < ranges.Length; i++)
            {
                AssertDone(results[i].Result);
                Assert.True(_bytes.AsSpan((int)ranges[i].Offset, ranges[i].Length).SequenceEqual(results[i].Bytes));
            }

            Assert.All(server.Requests, line => Assert.Contains(" HTTP/2.0\" 206 ", line, StringComparison.Ordinal));
        }

        MakeAuthority("other");
        foreach (var settings in new[] { Trusting("other"), new RemoteSettings(), Trusting("other") with { AllowInsecure = true } })
        {
            using var scene = new SourceScene(server.Url("base.raw"), settings);
            var refused = scene.Open();
            Assert.Equal(FetchStatus.Unavailable, refused.Status);
            Assert.Contains("certificate", refused.Why, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Certificate_for_another_host_is_not_believed()
    {
        MakeCertificate("elsewhere", "ca", "127.0.0.2");
        using var server = new NginxServer(_root, _directory.File("elsewhere.pem"), _directory.File("elsewhere.key"));
        using var scene = new SourceScene(server.Url("base.raw"), Trusting("ca"));
        Assert.Equal(FetchStatus.Unavailable, scene.Open().Status);
    }

    [Fact]
    public void Redirect_to_plain_http_is_refused_even_on_this_machine()
    {
        using var plain = new NginxServer(_root);
        using var server = new NginxServer(_root, _directory.File("server.pem"), _directory.File("server.key"),
            $"location /away {{ return 302 {plain.Url("base.raw")}; }}");
        using var scene = new SourceScene(server.Url("away"), Trusting("ca"));
        var refused = scene.Open();
        Assert.Equal(FetchStatus.Unfit, refused.Status);
        Assert.Contains("from https to http", refused.Why, StringComparison.Ordinal);
        Assert.Empty(plain.Requests);
    }

    private RemoteSettings Trusting(string authority) => new() { CertificateAuthorities = _directory.File(authority + ".pem") };

    private void MakeAuthority(string name) => OpenSsl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", "2", "-subj", "/CN=" + name, "-keyout", _directory.File(name + ".key"), "-out", _directory.File(name + ".pem"));

    private void MakeCertificate(string name, string authority, string address)
    {
        File.WriteAllText(_directory.File("extensions"), $"subjectAltName=IP:{address}\n");
        OpenSsl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=" + name,
            "-keyout", _directory.File(name + ".key"), "-out", _directory.File(name + ".csr"));
        OpenSsl("x509", "-req", "-in", _directory.File(name + ".csr"), "-CA", _directory.File(authority + ".pem"), "-CAkey",
            _directory.File(authority + ".key"), "-CAcreateserial", "-days", "2", "-extfile", _directory.File("extensions"),
            "-out", _directory.File(name + ".pem"));
    }

    private static void OpenSsl(params string[] arguments)
    {
        using var openssl = Process.Start(new ProcessStartInfo("openssl", arguments) { RedirectStandardError = true })!;
        var errors = openssl.StandardError.ReadToEnd();
        openssl.WaitForExit();
        Assert.True(openssl.ExitCode == 0, errors);
    }
}
