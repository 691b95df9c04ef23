using System;
using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Qcow2Blk.Creation;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Manifests;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk manifest IMAGE</c>.</summary>
internal sealed class ManifestVerb : Verb
{
    private readonly Argument<string> _image = new("IMAGE") { Description = "the image file, as it will lie in a store" };

    private readonly Option<string> _output = Text("--output", "FILE", "write the manifest to FILE [default: IMAGE.qcm]");

    private readonly Option<string> _chunkSize =
        Text("--chunk-size", "SIZE", "hash chunks of SIZE bytes, a power of two from 64K to 4M [default: 256K]");

    private readonly Option<string> _check = Text("--check", "FILE", "compare the image with the manifest FILE, and write nothing");
    private readonly Option<bool> _json = JsonFlag();

    public ManifestVerb()
        : base("manifest", "write the hashes by which an image in a store is verified",
            "qcow2blk manifest disk.qcow2",
            "qcow2blk manifest disk.qcow2 --output v1.qcm --chunk-size 1M",
            "qcow2blk manifest disk.qcow2 --json | jq -r .root")
    {
        _output.Aliases.Add("-o");
        Arguments.Add(_image);
        foreach (var option in (Option[])[_output, _chunkSize, _check, _json])
            Options.Add(option);
        Does(Run);
    }

    private ExitCode Run(ParseResult parsed)
    {
        var image = parsed.GetValue(_image)!;
        var check = parsed.GetValue(_check);
        if (check is not null && (parsed.GetValue(_output) is not null || parsed.GetValue(_chunkSize) is not null))
        {
            throw new OutcomeException(OutcomeKind.Invalid, "bad manifest command line",
                "--check cannot be used together with --output or --chunk-size", "see \"qcow2blk manifest --help\"");
        }

        var chunkBytes = ChunkSizeOf(parsed.GetValue(_chunkSize));
        var what = check is null ? $"cannot make a manifest of {image}" : $"cannot check {image}";
        ManifestReport report;
        using (var bar = ProgressBar.For(image))
        {
            var progress = Progress(bar);
            try
            {
                report = check is null
                    ? ManifestCreation.Create(image, parsed.GetValue(_output) ?? image + ".qcm", chunkBytes, progress)
                    : ManifestCreation.Check(image, check, progress);
            }
            catch (Exception error) when (error is not OutcomeException)
            {
                throw Refusals.From(error, what);
            }
        }

        if (parsed.GetValue(_json))
            Output.Json(writer => Describe(writer, image, report, check is not null));
        else
            Output.Line(report.Root);
        if (report.BadChunks == 0)
            return ExitCode.Done;
        Output.Error($"{image} is not what {report.Path} says", $"{report.BadChunks} of {report.Header.Chunks} chunks differ, the first at"
            + $" offset 0x{(report.FirstBadChunk * report.Header.ChunkBytes).ToString("x", CultureInfo.InvariantCulture)}", null);
        return ExitCode.Failed;
    }

    /// <summary>A bar is drawn ten times a second, however fast chunks are.</summary>
    private static Action<string, double>? Progress(ProgressBar? bar)
    {
        const int interval = 100;
        var shown = Environment.TickCount64;
        return bar is null ? null : (what, fraction) =>
        {
            if (Environment.TickCount64 - shown < interval)
                return;
            shown = Environment.TickCount64;
            bar.Show(what, fraction);
        };
    }

    private static int ChunkSizeOf(string? text)
    {
        if (text is null)
            return RemoteSettings.DefaultChunkBytes;
        var size = new SizeKind(RemoteSettings.MinChunkBytes, RemoteSettings.MaxChunkBytes, "64K to 4M").Parse("--chunk-size", text)!.Value;
        return ManifestHeader.IsChunkSize(size) ? (int)size
            : throw new OutcomeException(OutcomeKind.Invalid, $"--chunk-size {text} is not supported",
                "it is a power of two from 64K to 4M");
    }

    private static void Describe(Utf8JsonWriter writer, string image, ManifestReport report, bool isCheck)
    {
        writer.WriteStartObject();
        writer.WriteString("filename"u8, image);
        writer.WriteString("manifest"u8, report.Path);
        writer.WriteString("root"u8, report.Root);
        writer.WriteNumber("length"u8, report.Header.Length);
        writer.WriteNumber("chunk-size"u8, report.Header.ChunkBytes);
        writer.WriteNumber("chunks"u8, report.Header.Chunks);
        writer.WriteNumber("zero-chunks"u8, report.ZeroChunks);
        if (isCheck)
            writer.WriteNumber("differing-chunks"u8, report.BadChunks);
        writer.WriteEndObject();
    }
}
