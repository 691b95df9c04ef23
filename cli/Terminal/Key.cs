using System;
using System.Collections.Generic;
using System.Text;

namespace Qcow2Blk.Cli.Terminal;

/// <summary>A key that has no character.</summary>
internal enum KeyName
{
    None,
    Up,
    Down,
    Left,
    Right,
    Home,
    End,
    PageUp,
    PageDown,
}

/// <summary>A key that was pressed.</summary>
/// <param name="Name">of one without a character</param>
/// <param name="Character">of one that has one; '\0' of others</param>
internal readonly record struct Key(KeyName Name, char Character)
{
    internal const char CtrlC = '\x3', CtrlZ = '\x1a', CtrlL = '\xc';

    /// <summary>Reads what a terminal sends: a character each, or the sequences that all of today's terminals have.</summary>
    internal static IEnumerable<Key> Of(ReadOnlyMemory<byte> bytes)
    {
        var text = Encoding.UTF8.GetString(bytes.Span);
        for (var i = 0; i < text.Length; i++)
        {
            if (text[i] != '\e' || i + 2 >= text.Length || text[i + 1] is not ('[' or 'O'))
            {
                yield return new Key(KeyName.None, text[i]);
                continue;
            }

            var end = i + 2;
            while (end < text.Length - 1 && !char.IsAsciiLetter(text[end]) && text[end] != '~')
                end++;
            var name = Named(text[(i + 2)..(end + 1)]);
            if (name != KeyName.None)
                yield return new Key(name, '\0');
            i = end;
        }
    }

    private static KeyName Named(string sequence) => sequence switch
    {
        "A" => KeyName.Up,
        "B" => KeyName.Down,
        "C" => KeyName.Right,
        "D" => KeyName.Left,
        "H" or "1~" or "7~" => KeyName.Home,
        "F" or "4~" or "8~" => KeyName.End,
        "5~" => KeyName.PageUp,
        "6~" => KeyName.PageDown,
        _ => KeyName.None,
    };
}
