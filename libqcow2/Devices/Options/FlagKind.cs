using System.Collections.Generic;
using System.Text.Json;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Options;

/// <summary>Given or not; without a value on the command line.</summary>
internal sealed class FlagKind : ValueKind<bool>
{
    public const string True = "true";

    public const string False = "false";

    public override string Noun => "true or false";

    public override bool IsGiven(bool value) => value;

    public override bool Parse(string said, string text) => text switch
    {
        True => true,
        False => false,
        _ => throw new OutcomeException(OutcomeKind.Invalid, $"{said} {text} is not known", $"it must be one of {True}, {False}"),
    };

    public override IReadOnlyList<string> Print(bool value) => [value ? True : False];

    public override bool TryRead(ref Utf8JsonReader reader, out bool value)
    {
        value = reader.TokenType == JsonTokenType.True;
        return value || reader.TokenType == JsonTokenType.False;
    }

    public override void Write(Utf8JsonWriter writer, bool value) => writer.WriteBooleanValue(value);
}
