using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;

namespace Qcow2Blk.Cli;

/// <summary>
/// The words of the command line as bytes. The runtime decodes them, and what is not UTF-8 comes out as U+FFFD: another
/// name than the user gave, which must not be opened, made or removed in its place.
/// </summary>
internal static class RawArguments
{
    private const char Replacement = '\uFFFD';
    private static readonly UTF8Encoding s_strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <exception cref="OutcomeException">usage: a word is not UTF-8</exception>
    internal static void RequireUtf8(IReadOnlyList<string> arguments)
    {
        var suspicious = false;
        foreach (var argument in arguments)
            suspicious |= argument.Contains(Replacement, StringComparison.Ordinal);
        if (suspicious)
            RequireUtf8(File.ReadAllBytes("/proc/self/cmdline"));
    }

    /// <param name="commandLine">words, each with a NUL behind it</param>
    /// <exception cref="OutcomeException">usage: a word is not UTF-8</exception>
    internal static void RequireUtf8(ReadOnlySpan<byte> commandLine)
    {
        foreach (var range in commandLine.Split((byte)0))
        {
            var word = commandLine[range];
            try
            {
                _ = s_strict.GetCharCount(word);
            }
            catch (DecoderFallbackException)
            {
                throw new OutcomeException(OutcomeKind.Invalid, "bad command line",
                    $"\"{Printable.Escape(word)}\" is not valid UTF-8, and other names are not supported",
                    "make a link with another name to the file");
            }
        }
    }
}
