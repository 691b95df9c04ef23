using System.Collections.Generic;
using System.Globalization;
using System.Text.Json;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Options;

/// <summary>A time in seconds within bounds, with decimals.</summary>
/// <param name="least">the least that is allowed</param>
/// <param name="most">the most that is allowed</param>
internal sealed class SecondsKind(double least, double most) : ValueKind<double?>
{
    public override string Noun => "a number of seconds";

    public override double? Parse(string said, string text) =>
        double.TryParse(text, NumberStyles.AllowDecimalPoint | NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value)
            ? value
            : throw new OutcomeException(OutcomeKind.Invalid, $"{said} {text} is not a number", "digits, optionally with a decimal point");

    public override IReadOnlyList<string> Print(double? value) => [value!.Value.ToString(CultureInfo.InvariantCulture)];

    public override bool TryRead(ref Utf8JsonReader reader, out double? value)
    {
        value = reader.TokenType == JsonTokenType.Number && reader.TryGetDouble(out var number) ? number : null;
        return value is not null;
    }

    public override void Write(Utf8JsonWriter writer, double? value) => writer.WriteNumberValue(value!.Value);

    public override ValueRefusal? Refuse(string said, double? value) => value >= least && value <= most ? null
        : new ValueRefusal(string.Create(CultureInfo.InvariantCulture, $"{said} {value} is out of range"),
            string.Create(CultureInfo.InvariantCulture, $"{least} to {most} seconds"));
}
