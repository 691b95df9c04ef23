using System;
using System.Collections.Generic;
using System.CommandLine;
using System.IO;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Inspect;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk info IMAGE</c>.</summary>
internal sealed class InfoVerb : Verb
{
    private readonly Argument<string> _image = new("IMAGE") { Description = "the image file" };
    private readonly Option<string> _format = Choice("--format", ImageFormats.Words.All, "the image's format; never probed");
    private readonly BackingOptions _backing = new();
    private readonly Option<bool> _json = JsonFlag();

    public InfoVerb()
        : base("info", "show an image's header, features, snapshots, bitmaps and backing chain",
            "qcow2blk info disk.qcow2", "qcow2blk info disk.qcow2 --json | jq -r '.chain[].filename'")
    {
        Arguments.Add(_image);
        foreach (Option option in (Option[])[_format, .. _backing.All, _json])
            Options.Add(option);
        Does(parsed => Print(parsed, FormatOf(parsed, _format)));
    }

    /// <summary>The image format that an option says.</summary>
    internal static ImageFormat FormatOf(ParseResult parsed, Option<string> option)
        => ImageFormats.Words.Parse(Word(parsed, option, ImageFormats.Words.All));

    private ExitCode Print(ParseResult parsed, ImageFormat format)
    {
        string path = parsed.GetValue(_image)!;
        BackingChoice backing = _backing.Choice(parsed, format);
        try
        {
            using InspectedChain chain = InspectedChain.Open(path, format, backing);
            IReadOnlyList<SnapshotEntry> snapshots = chain.Images[0].ReadSnapshots();
            IReadOnlyList<BitmapEntry> bitmaps = chain.Images[0].ReadBitmaps(out string? damage);
            var report = new InfoReport(chain, snapshots, bitmaps, damage, ImageUse.WriterOf(chain.Images[0].File));
            if (parsed.GetValue(_json))
                Output.Json(report.WriteJson);
            else
                Output.Write(report.ToText());
            if (chain.Broken is null)
                return ExitCode.Done;
            throw Refusals.From(chain.Broken, $"the backing chain of {path} is broken");
        }
        catch (Exception error) when (error is not OutcomeException)
        {
            throw Refusals.From(error, $"cannot read {path}");
        }
    }
}
