using System;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Nbd;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Nbd;

/// <summary>URLs of exports, as doc/uri.md of the NBD project has them.</summary>
public sealed class NbdAddressTests
{
    [Theory]
    [InlineData("nbd://store", "store", 10809, "", false)]
    [InlineData("nbd://store/", "store", 10809, "", false)]
    [InlineData("nbd://store/debian", "store", 10809, "debian", false)]
    [InlineData("nbd://store//debian", "store", 10809, "/debian", false)]
    [InlineData("nbd://store/a/../b", "store", 10809, "a/../b", false)]
    [InlineData("nbd://store/a%20b%2Fc", "store", 10809, "a b/c", false)]
    [InlineData("nbd://store/%C3%A4", "store", 10809, "ä", false)]
    [InlineData("nbd://store/ä😀", "store", 10809, "ä😀", false)]
    [InlineData("nbd://127.0.0.1:1/x", "127.0.0.1", 1, "x", false)]
    [InlineData("nbd://[::1]:65535/x", "::1", 65535, "x", false)]
    [InlineData("nbds://store.example/x", "store.example", 10809, "x", true)]
    [InlineData("NBDS://store.example/x", "store.example", 10809, "x", true)]
    public void Server_is_read_from_a_url(string url, string host, int port, string export, bool isTls) =>
        Assert.Equal(new NbdAddress(host, port, null, export, isTls), Parsed(url));

    [Fact]
    public void Directory_of_certificates_is_read_from_a_url() => Assert.Equal(
        new NbdAddress("store", 10809, null, "x", true) { Certificates = "/etc/my pki" },
        Parsed("nbds://store/x?tls-certificates=/etc/my%20pki"));

    [Theory]
    [InlineData("nbd+unix:///?socket=/run/s", "/run/s", "")]
    [InlineData("nbd+unix:///disk?socket=/run/a%20b", "/run/a b", "disk")]
    [InlineData("nbd+unix:////disk?socket=/s", "/s", "/disk")]
    public void Socket_is_read_from_a_url(string url, string path, string export) =>
        Assert.Equal(new NbdAddress(null, 0, path, export, false), Parsed(url));

    [Theory]
    [InlineData("nbd://store/%zz", "%")]
    [InlineData("nbd://store/%4", "%")]
    [InlineData("nbd://store/%00", "%")]
    [InlineData("nbd://store/%ff", "UTF-8")]
    [InlineData("nbd://store/x?tls-hostname=other", "tls-hostname=other")]
    [InlineData("nbd://store/x?tls-certificates=/etc/pki", "tls-certificates=/etc/pki")]
    [InlineData("nbds://store/x?tls-certificates=pki", "begin with /")]
    [InlineData("nbds://store/x?tls-certificates=/a&tls-certificates=/b", "two directories")]
    [InlineData("nbds://store/x?tls-certificates=/%00", "%")]
    [InlineData("nbds://store/x?tls-verify-peer=false", "tls-verify-peer=false")]
    [InlineData("nbd://store:0/x", "port is 0")]
    [InlineData("nbd+unix:///x", "names no socket")]
    [InlineData("nbd+unix:///x?socket=", "begin with /")]
    [InlineData("nbd+unix:///x?socket=relative", "begin with /")]
    [InlineData("nbd+unix:///x?socket=/a&socket=/b", "two sockets")]
    [InlineData("nbd+unix:///x?socket=/a&uid=0", "uid=0")]
    [InlineData("nbd+unix://host/x?socket=/a", "no host")]
    public void Url_that_makes_no_sense_is_refused(string url, string why)
    {
        Assert.Null(RemoteLocation.Parse(url, out var location));

        Assert.Contains(why, NbdAddress.Parse(location!, out var address), StringComparison.Ordinal);
        Assert.Null(address);
    }

    [Fact]
    public void Names_that_the_protocol_cannot_send_are_refused()
    {
        Assert.Null(RemoteLocation.Parse("nbd://store/" + new string('x', 4097), out var longName));
        Assert.Null(RemoteLocation.Parse("nbd+unix:///?socket=/" + new string('x', 107), out var longPath));

        Assert.Contains("4096", NbdAddress.Parse(longName!, out _), StringComparison.Ordinal);
        Assert.Contains("107", NbdAddress.Parse(longPath!, out _), StringComparison.Ordinal);
    }

    private static NbdAddress Parsed(string url)
    {
        Assert.Null(RemoteLocation.Parse(url, out var location));
        Assert.Null(NbdAddress.Parse(location!, out var address));
        return address!;
    }
}
