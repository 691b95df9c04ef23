using System.Collections.Generic;
using System.Text;

namespace Qcow2Blk.Cli;

/// <summary>The syntax of files that units name as EnvironmentFile= (systemd.exec(5)), which is nearly a shell's.</summary>
internal static class EnvironmentFile
{
    /// <returns>the variables; of one that is set twice, the last value</returns>
    public static Dictionary<string, string> Parse(string text)
    {
        var variables = new Dictionary<string, string>();
        var at = 0;
        while (at < text.Length)
        {
            SkipBlanks(text, ref at);
            if (at < text.Length && text[at] is '#' or ';')
            {
                SkipComment(text, ref at);
                continue;
            }

            var key = ReadKey(text, ref at);
            if (key is not null)
                variables[key] = ReadValue(text, ref at);
            at++;
        }

        return variables;
    }

    private static void SkipBlanks(string text, ref int at)
    {
        while (at < text.Length && char.IsWhiteSpace(text[at]))
            at++;
    }

    /// <summary>A comment goes on where its line ends with a backslash.</summary>
    private static void SkipComment(string text, ref int at)
    {
        for (; at < text.Length && text[at] != '\n'; at++)
        {
            if (text[at] == '\\')
                at++;
        }
    }

    /// <returns>null for a line without "="; <paramref name="at"/> is at its end then, else behind the "="</returns>
    private static string? ReadKey(string text, ref int at)
    {
        var start = at;
        while (at < text.Length && text[at] is not ('=' or '\n'))
            at++;
        if (at == text.Length || text[at] == '\n')
            return null;
        return text[start..at++].Trim();
    }

    /// <summary>Up to the end of the line, or of the last of the lines that a backslash or a quote joins.</summary>
    private static string ReadValue(string text, ref int at)
    {
        var value = new StringBuilder();
        var quote = '\0';
        var kept = 0; // What was quoted keeps its blanks at the end.
        while (at < text.Length && text[at] is ' ' or '\t')
            at++;
        for (; at < text.Length && (quote != '\0' || text[at] != '\n'); at++)
        {
            var c = text[at];
            if (quote == '\0' ? c is '"' or '\'' : c == quote)
            {
                quote = quote == '\0' ? c : '\0';
                kept = value.Length;
            }
            else if (c == '\\' && quote != '\'' && at + 1 < text.Length)
            {
                AddEscaped(value, text[++at], isQuoted: quote == '"');
                kept = value.Length;
            }
            else
            {
                value.Append(c);
            }
        }

        var end = value.Length;
        while (end > kept && char.IsWhiteSpace(value[end - 1]))
            end--;
        return value.ToString(0, end);
    }

    /// <summary>Between double quotes a backslash is one, except before what has a meaning there.</summary>
    private static void AddEscaped(StringBuilder value, char escaped, bool isQuoted)
    {
        if (escaped == '\n')
            return;
        if (isQuoted && escaped is not ('"' or '\\' or '`' or '$'))
            value.Append('\\');
        value.Append(escaped);
    }
}
