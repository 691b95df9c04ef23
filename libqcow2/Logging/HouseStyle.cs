using System;

namespace Qcow2Blk.Logging;

/// <summary>Messages of others, such as the runtime's, in the style of ours.</summary>
internal static class HouseStyle
{
    /// <summary>Lower case, no full stop, one line.</summary>
    public static string Of(string message)
    {
        ArgumentNullException.ThrowIfNull(message);
        var text = message.ReplaceLineEndings(" ").TrimEnd(' ', '.');
        return text.Length > 1 && char.IsUpper(text[0]) && !char.IsUpper(text[1]) ? char.ToLowerInvariant(text[0]) + text[1..] : text;
    }
}
