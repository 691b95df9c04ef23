using System;
using System.IO;
using System.Text;

namespace Qcow2Blk.Devices.Options;

/// <summary>Device names: part of file names in the runtime directory, so they are kept plain.</summary>
internal static class DeviceName
{
    /// <summary>Leaves room in sun_path (107 bytes) for the runtime directory and ".sock".</summary>
    public const int MaxLength = 48;

    /// <summary>Letters, digits, dot, underscore and dash of ASCII, not beginning with a dot or a dash.</summary>
    public static bool IsValid(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (name.Length is 0 or > MaxLength || name[0] is '.' or '-')
            return false;
        foreach (var c in name)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('.' or '_' or '-'))
                return false;
        }

        return true;
    }

    /// <summary>What is allowed, for messages.</summary>
    public static string Rule { get; } = $"names have 1 to {MaxLength} of the characters A-Z a-z 0-9 . _ - and do not begin with . or -";

    /// <summary>The name an image gets when none was asked for: its file's stem, other characters replaced.</summary>
    public static string FromImage(string imagePath)
    {
        var stem = Path.GetFileNameWithoutExtension(imagePath.AsSpan());
        var name = new StringBuilder(MaxLength);
        foreach (var c in stem[..Math.Min(stem.Length, MaxLength - SuffixRoom)])
            name.Append(char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-' ? c : '_');
        if (name.Length == 0 || name[0] is '.' or '-')
            name.Insert(0, "disk");
        return name.ToString();
    }

    /// <summary>The <paramref name="attempt"/>th candidate for a stem: disk, disk-2, disk-3.</summary>
    public static string Candidate(string stem, int attempt) => attempt == 1 ? stem : $"{stem}-{attempt}";

    /// <summary>"-9999" and the "disk" put before an unusable first character.</summary>
    private const int SuffixRoom = 9;
}
