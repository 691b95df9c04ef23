using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Options;

public sealed class ListenAddressTests
{
    [Theory]
    [InlineData("10998", "localhost", 10998)]
    [InlineData(":10998", "localhost", 10998)]
    [InlineData("0", "localhost", 0)]
    [InlineData("backup.example", "backup.example", 10809)]
    [InlineData("backup.example:1", "backup.example", 1)]
    [InlineData("0.0.0.0:65535", "0.0.0.0", 65535)]
    [InlineData("127.0.0.1", "127.0.0.1", 10809)]
    [InlineData("[::1]", "::1", 10809)]
    [InlineData("[::1]:7", "::1", 7)]
    public void Address_is_read_as_users_write_it(string text, string host, int port) =>
        Assert.Equal(new ListenAddress(host, port), ListenAddress.Parse(text));

    [Theory]
    [InlineData("65536", "65536")]
    [InlineData("99999999999999999999", "99999999999999999999")]
    [InlineData(":65536", "65536")]
    [InlineData("h:x", "\"x\"")]
    [InlineData("::1", "IPv6")]
    [InlineData("[::1", "IPv6")]
    [InlineData("[::1]7", "IPv6")]
    public void Bad_address_is_refused_with_the_part_that_is_wrong(string text, string part) =>
        Assert.Contains(part, Assert.Throws<OutcomeException>(() => ListenAddress.Parse(text)).Message, System.StringComparison.Ordinal);
}
