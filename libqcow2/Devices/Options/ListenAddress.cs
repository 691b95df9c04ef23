using System;
using System.Globalization;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Options;

/// <summary>The HOST:PORT of <c>--listen</c>.</summary>
/// <param name="Host">a name or address; without one, only this machine can connect</param>
/// <param name="Port">0 lets the kernel choose</param>
internal readonly record struct ListenAddress(string Host, int Port)
{
    private const string Loopback = "localhost";

    /// <summary>Reads PORT, HOST, HOST:PORT, :PORT, [IPV6] and [IPV6]:PORT.</summary>
    /// <exception cref="OutcomeException">usage: it is not one of these</exception>
    public static ListenAddress Parse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        // Digits alone name no host that anybody has: resolvers take them for a number of 32 bits.
        if (text.Length > 0 && text.AsSpan().IndexOfAnyExceptInRange('0', '9') < 0)
            return new ListenAddress(Loopback, Number(text, text));
        string host = text, port = "";
        var bracketed = text.StartsWith('[');
        var hostEnd = bracketed ? text.IndexOf(']', StringComparison.Ordinal) : text.LastIndexOf(':');
        if (bracketed)
        {
            if (hostEnd < 0 || (hostEnd + 1 < text.Length && text[hostEnd + 1] != ':'))
                throw Bad(text, "an IPv6 address is written [ADDRESS] or [ADDRESS]:PORT");
            host = text[1..hostEnd];
            port = hostEnd + 2 <= text.Length ? text[(hostEnd + 2)..] : "";
        }
        else if (hostEnd >= 0)
        {
            host = text[..hostEnd];
            port = text[(hostEnd + 1)..];
            if (host.Contains(':', StringComparison.Ordinal))
                throw Bad(text, "an IPv6 address is written [ADDRESS] or [ADDRESS]:PORT");
        }

        return new ListenAddress(host.Length == 0 ? Loopback : host, port.Length == 0 ? AttachOptions.DefaultPort : Number(text, port));
    }

    /// <summary>As <see cref="Parse"/> reads it.</summary>
    public override string ToString() => Host.Contains(':', StringComparison.Ordinal) ? $"[{Host}]:{Port}" : $"{Host}:{Port}";

    private static int Number(string text, string port) =>
        ushort.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out var value) ? value
            : throw Bad(text, $"\"{port}\" is not a port; ports are 0 to 65535");

    private static OutcomeException Bad(string text, string why) =>
        new(OutcomeKind.Invalid, $"--listen {text} is not HOST:PORT", why);
}
