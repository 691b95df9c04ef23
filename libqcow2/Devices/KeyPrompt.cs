using System.IO;
using System.Text;
using Qcow2Blk.Buffers;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices;

/// <summary>Asks for a key on the terminal, which does not show it.</summary>
internal static class KeyPrompt
{
    private const int LongestKey = 4096;

    private const byte Interrupt = 3;
    private const byte EndOfInput = 4;
    private const byte Backspace = 8;
    private const byte EraseLine = 21;
    private const byte Delete = 127;

    /// <summary>Asks at the terminal of this process, wherever its input and output go.</summary>
    /// <param name="image">what the key is for</param>
    /// <exception cref="OutcomeException">there is no terminal, or the user does not want to</exception>
    public static SecretMemory Ask(string image)
    {
        var terminal = Errno.Of(Fcntl.Open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY, 0));
        if (terminal < 0)
            throw Refused(image, "there is no terminal", "use --key-file FILE, or --key-fd N");
        try
        {
            return Ask(terminal, image);
        }
        finally
        {
            _ = Unistd.Close(terminal);
        }
    }

    /// <summary>Asks at a terminal.</summary>
    internal static SecretMemory Ask(int terminal, string image)
    {
        if (Terminals.Settings(terminal, out var before) is var error and < 0)
            throw Refused(image, Errno.Text(error), null);
        Say(terminal, $"key of {Printable.Escape(Path.GetFileName(image))}: ");
        _ = Terminals.Set(terminal, Terminals.Raw(before));
        try
        {
            return ReadLine(terminal) ?? throw Refused(image, "no key was entered", null);
        }
        finally
        {
            _ = Terminals.Set(terminal, before);
            Say(terminal, "\n");
        }
    }

    /// <returns>null if the user gave up, or entered nothing</returns>
    private static SecretMemory? ReadLine(int terminal)
    {
        var line = new SecretMemory(LongestKey);
        using var key = new SecretMemory(1);
        var length = 0;
        while (Unistd.Read(terminal, key.Span) == 1)
        {
            switch (key.Span[0])
            {
                case (byte)'\r' or (byte)'\n' or EndOfInput when length > 0:
                    line.Shorten(length);
                    return line;
                case (byte)'\r' or (byte)'\n' or EndOfInput or Interrupt:
                    line.Dispose();
                    return null;
                case Backspace or Delete:
                    length = WithoutLast(line, length);
                    break;
                case EraseLine:
                    length = 0;
                    break;
                case var typed when length < LongestKey:
                    line.Span[length++] = typed;
                    break;
            }
        }

        line.Dispose();
        return null;
    }

    /// <summary>One character of UTF-8 less.</summary>
    private static int WithoutLast(SecretMemory line, int length)
    {
        while (length > 0 && (line.Span[length - 1] & 0xc0) == 0x80)
            length--;
        return length == 0 ? 0 : length - 1;
    }

    private static void Say(int terminal, string text) => _ = Unistd.WriteAll(terminal, Encoding.UTF8.GetBytes(text));

    private static OutcomeException Refused(string image, string why, string? hint) =>
        new(OutcomeKind.Failed, $"cannot ask for the key of {image}", why, hint);
}
