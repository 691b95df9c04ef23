using System;

namespace Qcow2Blk.Format;

/// <summary>
/// An image was refused because of what it holds. Thrown only when an image is opened, inspected or configured,
/// never on the I/O path.
/// </summary>
/// <remarks>
/// <see cref="Exception.Message"/> is <c>PATH: WHY</c> on one line; bytes that came from the image cannot break it
/// (control characters are escaped).
/// </remarks>
internal sealed class ImageFormatException(string path, string field, string message, string? hint = null)
    : Exception($"{Printable.Escape(path)}: {Printable.Escape(message)}")
{
    /// <summary>The message without the path.</summary>
    public string Why { get; } = Printable.Escape(message);

    /// <summary>The image file, as the user named it or the chain resolved it.</summary>
    public string Path { get; } = path;

    /// <summary>The field at fault in the specification's words, e.g. <c>l1_table_offset</c>.</summary>
    public string Field { get; } = field;

    /// <summary>Whether nothing is wrong with the image: it needs what is not supported.</summary>
    public bool IsUnsupported { get; init; }

    /// <summary>Whether something that it was asked for, or that the image names, is not there.</summary>
    public bool IsMissing { get; init; }

    /// <summary>What the user can do about it; null if that is not known.</summary>
    public string? Hint { get; } = hint;
}
