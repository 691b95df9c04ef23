using System;
using System.IO;

namespace Qcow2Blk.Devices;

/// <summary>Turns whatever an attach or a command threw into the one line that its user gets.</summary>
public static class Refusals
{
    /// <param name="error">anything</param>
    /// <param name="what">what was being done</param>
    public static DeviceException From(Exception error, string what)
    {
        ArgumentNullException.ThrowIfNull(error);
        return error switch
        {
            DeviceException refusal => refusal,
            IOException or UnauthorizedAccessException
                => new DeviceException(ExitStatus.Failed, what, InHouseStyle(error.Message), null, error),
            _ => new DeviceException(ExitStatus.Failed, what, $"internal error: {error.GetType().Name}: {error.Message}",
                "please report this", error),
        };
    }

    /// <summary>Lower case, no full stop: messages that the runtime wrote.</summary>
    public static string InHouseStyle(string message)
    {
        ArgumentNullException.ThrowIfNull(message);
        string text = message.ReplaceLineEndings(" ").TrimEnd(' ', '.');
        return text.Length > 1 && char.IsUpper(text[0]) && !char.IsUpper(text[1]) ? char.ToLowerInvariant(text[0]) + text[1..] : text;
    }
}
