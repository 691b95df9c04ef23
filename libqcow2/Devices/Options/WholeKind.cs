using System;
using System.Collections.Generic;
using System.Globalization;
using System.Text.Json;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Options;

/// <summary>A whole number within bounds.</summary>
/// <param name="least">the least that is allowed</param>
/// <param name="most">the most that is allowed</param>
/// <param name="unit">of what: "seconds"; null for things without a unit</param>
internal class WholeKind(int least, int most, string? unit = null) : ValueKind<int?>
{
    public override string Noun => "a whole number";

    /// <remarks>"5.0" is whole too.</remarks>
    public override int? Parse(string said, string text)
    {
        const NumberStyles written = NumberStyles.AllowDecimalPoint | NumberStyles.AllowLeadingSign;
        if (!double.TryParse(text, written, CultureInfo.InvariantCulture, out var value))
            throw new OutcomeException(OutcomeKind.Invalid, $"{said} {text} is not a number", "digits, optionally with a decimal point");
        return value == Math.Floor(value) && Math.Abs(value) < int.MaxValue ? (int)value
            : throw new OutcomeException(OutcomeKind.Invalid, $"{said} {value} is not a whole number", "digits only");
    }

    public override IReadOnlyList<string> Print(int? value) => [value!.Value.ToString(CultureInfo.InvariantCulture)];

    public override bool TryRead(ref Utf8JsonReader reader, out int? value)
    {
        value = reader.TokenType == JsonTokenType.Number && reader.TryGetInt32(out var number) ? number : null;
        return value is not null;
    }

    public override void Write(Utf8JsonWriter writer, int? value) => writer.WriteNumberValue(value!.Value);

    public override ValueRefusal? Refuse(string said, int? value) => value >= least && value <= most ? null
        : new ValueRefusal($"{said} {value} is out of range", $"{least} to {most}{(unit is null ? "" : $" {unit}")}");
}

/// <summary>The block sizes that disks have.</summary>
internal sealed class BlockSizeKind() : WholeKind(Small, Large)
{
    private const int Small = 512, Large = 4096;

    public override IReadOnlyList<string> Words => [$"{Small}", $"{Large}"];

    public override ValueRefusal? Refuse(string said, int? value) => value is Small or Large ? null
        : new ValueRefusal($"{said} {value} is not supported", $"blocks have {Small} or {Large} bytes");
}
