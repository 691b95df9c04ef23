using System;
using System.Collections.Generic;
using System.Text.Json;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Options;

/// <summary>One word of an enum.</summary>
internal sealed class WordKind<T>(EnumWords<T> words) : ValueKind<T?>
    where T : struct, Enum
{
    public override IReadOnlyList<string> Words => words.All;

    public override string Noun => $"one of {words}";

    public override T? Parse(string said, string text) => words.TryParse(text)
        ?? throw new OutcomeException(OutcomeKind.Invalid, $"{said} {text} is not known", $"it is one of {words}", Nearest.Hint(text, words.All));

    public override IReadOnlyList<string> Print(T? value) => [words.Of(value!.Value)];

    public override bool TryRead(ref Utf8JsonReader reader, out T? value)
    {
        value = reader.TokenType == JsonTokenType.String ? words.TryParse(reader.GetString()) : null;
        return value is not null;
    }

    public override void Write(Utf8JsonWriter writer, T? value) => writer.WriteStringValue(words.Of(value!.Value));
}
