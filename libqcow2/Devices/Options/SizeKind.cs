using System.Collections.Generic;
using System.Globalization;
using System.Text.Json;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Options;

/// <summary>A number of bytes within bounds: 4096, 64K, 16M, 1G, 1T, and so on (powers of 1024, "iB" allowed).</summary>
/// <param name="least">the least that is allowed, in bytes</param>
/// <param name="most">the most that is allowed, in bytes</param>
/// <param name="range">both, as people write them</param>
internal class SizeKind(long least, long most, string range) : ValueKind<long?>
{
    public override string Noun => "a whole number of bytes";

    public override long? Parse(string said, string text)
    {
        var digits = text.TrimEnd("iBb".ToCharArray());
        var shift = digits.Length == 0 ? 0 : char.ToUpperInvariant(digits[^1]) switch
        {
            'K' => 10,
            'M' => 20,
            'G' => 30,
            'T' => 40,
            'P' => 50,
            'E' => 60,
            _ => 0,
        };
        if (shift > 0)
            digits = digits[..^1];
        return long.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value <= long.MaxValue >> shift
            ? value << shift
            : throw new OutcomeException(OutcomeKind.Invalid, $"{said} {text} is not a size",
                "a size is a number, optionally followed by K, M, G, T, P or E");
    }

    public override IReadOnlyList<string> Print(long? value) => [value!.Value.ToString(CultureInfo.InvariantCulture)];

    public override bool TryRead(ref Utf8JsonReader reader, out long? value)
    {
        value = reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out var number) ? number : null;
        return value is not null;
    }

    public override void Write(Utf8JsonWriter writer, long? value) => writer.WriteNumberValue(value!.Value);

    public override ValueRefusal? Refuse(string said, long? value) =>
        value >= least && value <= most ? null : new ValueRefusal($"{said} {value} is out of range", range);
}

/// <summary>Bytes a second; 0 for no limit.</summary>
internal sealed class BandwidthKind() : SizeKind(Least, Most, "0 for no limit, or 4K to 1T")
{
    // Less would hold a single request up for minutes: the kernel would take the device for dead.
    private const long Least = 4096;

    // More than memory moves.
    private const long Most = 1L << 40;

    public override ValueRefusal? Refuse(string said, long? value) => value == 0 ? null : base.Refuse(said, value);
}
