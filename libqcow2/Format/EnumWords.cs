using System;
using System.Collections.Generic;

namespace Qcow2Blk.Format;

/// <summary>
/// The words of an enum: on the command line, in state files and JSON, in messages. They stand beside the enum, in its order,
/// and nowhere else. What is written must be readable by another version, so a word never changes.
/// </summary>
internal sealed class EnumWords<T>
    where T : struct, Enum
{
    private readonly T[] _values;
    private readonly string[] _words;

    public EnumWords(params ReadOnlySpan<(T Value, string Word)> pairs)
    {
        _values = new T[pairs.Length];
        _words = new string[pairs.Length];
        for (var i = 0; i < pairs.Length; i++)
            (_values[i], _words[i]) = pairs[i];
    }

    /// <summary>Every word.</summary>
    public IReadOnlyList<string> All => _words;

    /// <exception cref="ArgumentOutOfRangeException">it is not a value of the enum</exception>
    public string Of(T value)
    {
        for (var i = 0; i < _values.Length; i++)
        {
            if (EqualityComparer<T>.Default.Equals(_values[i], value))
                return _words[i];
        }

        throw new ArgumentOutOfRangeException(nameof(value), $"{value} has no word");
    }

    /// <returns>null if it is not one of the words</returns>
    public T? TryParse(string? word) => Array.IndexOf(_words, word) is >= 0 and var index ? _values[index] : null;

    /// <exception cref="FormatException">it is not one of the words</exception>
    public T Parse(string? word) => TryParse(word) ?? throw new FormatException($"\"{word}\" is not one of {this}");

    /// <summary>The words for people: "none, writeback".</summary>
    public override string ToString() => string.Join(", ", _words);
}
