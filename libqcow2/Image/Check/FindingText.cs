using System.Runtime.CompilerServices;

namespace Qcow2Blk.Image.Check;

/// <summary>
/// Formats the message of a finding, unless the result has enough of them: a hostile file can have millions, and a
/// text for each would cost more than the check.
/// </summary>
[InterpolatedStringHandler]
internal ref struct FindingText
{
    private DefaultInterpolatedStringHandler _text;

    public FindingText(int literalLength, int formattedCount, CheckResult result, out bool wanted)
    {
        wanted = result is { IsFull: false };
        _text = wanted ? new DefaultInterpolatedStringHandler(literalLength, formattedCount) : default;
    }

    public void AppendLiteral(string value) => _text.AppendLiteral(value);

    public void AppendFormatted<T>(T value) => _text.AppendFormatted(value);

    public void AppendFormatted<T>(T value, string format) => _text.AppendFormatted(value, format);

    internal string Take() => _text.ToStringAndClear();
}
