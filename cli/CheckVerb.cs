using System;
using System.CommandLine;
using System.Globalization;
using System.IO;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk check IMAGE</c>.</summary>
internal sealed class CheckVerb : Verb
{
    private readonly Argument<string> _image = new("IMAGE") { Description = "the image file" };
    private readonly Option<string> _repair = Text("--repair", "leaks|all", "repair leaked clusters, or everything that can be repaired");
    private readonly Option<bool> _force = Flag("--force-share",
        "look at an image that somebody is writing; the findings may be wrong then");
    private readonly Option<bool> _json = JsonFlag();

    public CheckVerb()
        : base("check", "check the metadata of an image, and repair it",
            "qcow2blk check disk.qcow2", "qcow2blk check disk.qcow2 --repair leaks",
            "qcow2blk check disk.qcow2 --json | jq '.[\"check-errors\"]'")
    {
        _repair.Aliases.Add("-r");
        _force.Aliases.Add("-U");
        Arguments.Add(_image);
        foreach (var option in (Option[])[_repair, _force, _json])
            Options.Add(option);
        Does(Check);
    }

    /// <summary>Those of qemu-img check, which scripts know: 2 and 3 are of the image.</summary>
    private enum Status
    {
        Clean = 0,
        Incomplete = 1,

        /// <summary>The image has errors.</summary>
        Corrupt = 2,

        /// <summary>Clusters are leaked, and nothing else is wrong.</summary>
        Leaking = 3,

        /// <summary>There is nothing to check in a file of this format.</summary>
        NotSupported = 63,
    }

    /// <summary>Never 2 or 3.</summary>
    internal override ExitCode ExitOf(OutcomeKind kind) => ExitCode.Failed;

    private ExitCode Check(ParseResult parsed)
    {
        var path = parsed.GetValue(_image)!;
        var repair = RepairOf(parsed.GetValue(_repair));
        if (repair is not null && parsed.GetValue(_force))
        {
            throw new OutcomeException(OutcomeKind.Invalid, $"cannot check {path}",
                "--repair and --force-share cannot be used together", "nothing may be changed while somebody writes the image");
        }

        return (ExitCode)Print(path, Run(path, repair, parsed.GetValue(_force)), parsed.GetValue(_json));
    }

    private static RepairKind? RepairOf(string? word)
    {
        if (word is null)
            return null;
        return RepairKinds.Words.TryParse(word)
            ?? throw new OutcomeException(OutcomeKind.Invalid, $"--repair {word} is not known", $"it can be {RepairKinds.Words}");
    }

    private static CheckReport Run(string path, RepairKind? repair, bool ignoreLocks)
    {
        using var bar = ProgressBar.For(path);
        if (bar is null)
            return ImageChecking.Run(path, repair, ignoreLocks, null);
        var progress = new ProgressLog(new StderrLog(LogLevel.Error), bar.Show);
        var report = ImageChecking.Run(path, repair, ignoreLocks, progress.Progress);
        progress.End();
        return report;
    }

    private static Status Print(string path, CheckReport report, bool asJson)
    {
        foreach (var finding in report.Findings)
            Output.Note(finding);
        if (report.Stopped is { } why)
        {
            Output.Error($"cannot check {path}", why, null);
            return report.Verdict == CheckVerdict.NotSupported ? Status.NotSupported : Status.Incomplete;
        }

        if (asJson)
            Output.Json(writer => WriteJson(writer, path, report));
        else
            Output.Write(TextOf(report));
        return report.Verdict switch
        {
            CheckVerdict.Clean => Status.Clean,
            CheckVerdict.Corrupt => Status.Corrupt,
            CheckVerdict.Leaking => Status.Leaking,
            _ => Status.Incomplete,
        };
    }

    /// <summary>As qemu-img: what is 0 is left out.</summary>
    private static void WriteJson(Utf8JsonWriter writer, string path, CheckReport report)
    {
        writer.WriteStartObject();
        Number("image-end-offset", report.ImageEndOffset);
        Number("total-clusters", report.TotalClusters);
        writer.WriteNumber("check-errors", report.CheckErrors);
        Number("corruptions", report.Corruptions);
        Number("leaks", report.Leaks);
        Number("corruptions-fixed", report.CorruptionsFixed);
        Number("leaks-fixed", report.LeaksFixed);
        Number("allocated-clusters", report.AllocatedClusters);
        Number("fragmented-clusters", report.FragmentedClusters);
        Number("compressed-clusters", report.CompressedClusters);
        writer.WriteString("filename", path);
        writer.WriteString("format", "qcow2");
        writer.WriteEndObject();

        void Number(string key, long value)
        {
            if (value != 0)
                writer.WriteNumber(key, value);
        }
    }

    private static string TextOf(CheckReport report)
    {
        var text = new StringBuilder();
        if (report.CorruptionsFixed + report.LeaksFixed > 0)
            text.Append($"repaired: {report.CorruptionsFixed} errors, {report.LeaksFixed} leaked clusters\n");
        if (report.Corruptions > 0)
            text.Append($"{report.Corruptions} errors: what is read may be wrong, and writing may lose data\n");
        if (report.Leaks > 0)
            text.Append($"{report.Leaks} leaked clusters: space is lost, no data\n");
        if (report.CheckErrors > 0)
            text.Append($"{report.CheckErrors} clusters could not be checked\n");
        if (report.Corruptions + report.Leaks + report.CheckErrors == 0)
            text.Append("no errors\n");
        if (report.AllocatedClusters > 0 && report.TotalClusters > 0)
        {
            text.Append(CultureInfo.InvariantCulture,
                $"{report.AllocatedClusters} of {report.TotalClusters} clusters allocated")
                .Append($" ({Percent(report.AllocatedClusters, report.TotalClusters)}),")
                .Append($" {Percent(report.FragmentedClusters, report.AllocatedClusters)} of them fragmented,")
                .Append($" {Percent(report.CompressedClusters, report.AllocatedClusters)} compressed\n");
        }

        return text.Append($"last cluster in use ends at {report.ImageEndOffset}\n").ToString();
    }

    private static string Percent(long part, long whole) => (part * 100.0 / whole).ToString("0.00", CultureInfo.InvariantCulture) + " %";
}
