using System;
using System.IO;
using System.Linq;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using Xunit;

namespace Qcow2Blk.Tests.Crypto;

/// <summary>Keys are in no swap space and no core dump, and not left behind.</summary>
public sealed class SecretMemoryTests
{
    [Fact]
    public void Pages_are_locked_and_in_no_core_dump()
    {
        using var secret = SecretMemory.CopyOf("secret"u8);
        Assert.True(secret.IsLocked);
        var flags = FlagsOf(secret.Buffer.Address);
        Assert.Contains("lo", flags);
        Assert.Contains("dd", flags);
    }

    [Fact]
    public void Shortened_secret_has_no_end()
    {
        using var secret = SecretMemory.CopyOf("secret and more"u8);
        var whole = secret.Buffer;
        secret.Shorten(6);
        Assert.True(secret.Span.SequenceEqual("secret"u8));
        Assert.False(whole.Span[6..].ContainsAnyExcept((byte)0));
    }

    [Fact]
    public void Secret_that_is_gone_is_not_there()
    {
        var secret = SecretMemory.CopyOf("secret"u8);
        secret.Dispose();
        secret.Dispose();
        Assert.Throws<ObjectDisposedException>(() => secret.Buffer);
    }

    [Fact]
    public void Library_that_is_not_there_is_named()
    {
        string[] names = ["libnothing-of-the-kind.so.3", "libneither.so.1"];
        Assert.Equal("cannot load libnothing-of-the-kind.so.3 or libneither.so.1", LibCrypto.Open(names, out var library));
        Assert.Equal(0, library);
        Assert.Null(LibCrypto.Load());
    }

    private static string[] FlagsOf(nint address)
    {
        var lines = File.ReadAllLines("/proc/self/smaps");
        var start = Array.FindIndex(lines, line => line.StartsWith($"{address:x}-", StringComparison.Ordinal)
            || line.StartsWith($"{address:x8}-", StringComparison.Ordinal) || line.StartsWith($"{address:x12}-", StringComparison.Ordinal));
        Assert.True(start >= 0);
        return [.. lines[start..].First(line => line.StartsWith("VmFlags:", StringComparison.Ordinal)).Split(' ')];
    }
}
