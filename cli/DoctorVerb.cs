using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Cli.Terminal;
using Qcow2Blk.Devices.Diagnosis;
using Qcow2Blk.Format;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk doctor</c>.</summary>
internal sealed class DoctorVerb : Verb
{
    private readonly Option<bool> _json = JsonFlag();

    public DoctorVerb()
        : base("doctor", "say what of kernel, rights, limits and tools is there, and what to do about what is missing",
            "qcow2blk doctor", "qcow2blk doctor --json | jq '.findings[] | select(.verdict != \"ok\")'")
    {
        Options.Add(_json);
        Does(parsed => Print(new Doctor(new Machine()).Examine(), parsed.GetValue(_json)));
    }

    private static ExitCode Print(IReadOnlyList<Finding> findings, bool json)
    {
        if (json)
            Output.Json(writer => WriteAll(writer, findings));
        else
            Output.Write(AsText(findings, Style.For(1)));
        return Count(findings, Verdict.Problem) == 0 ? ExitCode.Done : ExitCode.Failed;
    }

    private static int Count(IReadOnlyList<Finding> findings, Verdict verdict) => findings.Count(finding => finding.Verdict == verdict);

    internal static string AsText(IReadOnlyList<Finding> findings, Style style)
    {
        var text = new StringBuilder();
        var width = findings.Max(finding => finding.What.Length);
        foreach (var area in findings.GroupBy(finding => finding.Area))
        {
            text.Append(text.Length > 0 ? "\n" : "").Append(area.Key).Append('\n');
            foreach (var finding in area)
            {
                text.Append("  ").Append(Marked(finding.Verdict, style)).Append("  ").Append(finding.What.PadRight(width)).Append("  ")
                    .Append(Printable.Escape(finding.Found)).Append('\n');
                if (finding.Hint is { } hint)
                    text.Append(' ', 5 + width).Append("  -> ").Append(Printable.Escape(hint)).Append('\n');
            }
        }

        int problems = Count(findings, Verdict.Problem), warnings = Count(findings, Verdict.Warning);
        var summary = $"{problems} {(problems == 1 ? "problem" : "problems")}, {warnings} {(warnings == 1 ? "warning" : "warnings")}";
        return text.Append('\n').Append(problems > 0 ? style.Bad(summary) : warnings > 0 ? style.Doubtful(summary) : style.Good(summary))
            .Append('\n').ToString();
    }

    private static string Marked(Verdict verdict, Style style) => verdict switch
    {
        Verdict.Ok => style.Good("+"),
        Verdict.Warning => style.Doubtful("!"),
        _ => style.Bad("x"),
    };

    private static void WriteAll(Utf8JsonWriter writer, IReadOnlyList<Finding> findings)
    {
        writer.WriteStartObject();
        writer.WriteNumber("problems"u8, Count(findings, Verdict.Problem));
        writer.WriteNumber("warnings"u8, Count(findings, Verdict.Warning));
        writer.WriteStartArray("findings"u8);
        foreach (var finding in findings)
        {
            writer.WriteStartObject();
            writer.WriteString("area"u8, finding.Area);
            writer.WriteString("verdict"u8, Verdicts.Words.Of(finding.Verdict));
            writer.WriteString("what"u8, finding.What);
            writer.WriteString("found"u8, finding.Found);
            writer.WriteString("hint"u8, finding.Hint);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteEndObject();
    }
}
