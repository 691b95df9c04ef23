using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Options;

/// <summary>One of a few words.</summary>
internal sealed class WordKind(IReadOnlyList<string> words) : TextKind
{
    public override IReadOnlyList<string> Words => words;

    public override string Noun => $"one of {string.Join(", ", words)}";

    public override string? Parse(string said, string text) => words.Contains(text) ? text
        : throw new OutcomeException(
            OutcomeKind.Invalid, $"{said} {text} is not known", $"it must be one of {string.Join(", ", words)}", Nearest.Hint(text, words));

    public override bool TryRead(ref Utf8JsonReader reader, out string? value) =>
        base.TryRead(ref reader, out value) && words.Contains(value!);
}
