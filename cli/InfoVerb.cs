using System;
using System.Collections.Generic;
using System.CommandLine;
using System.IO;
using System.Linq;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Inspect;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk info IMAGE</c>.</summary>
internal sealed class InfoVerb : Verb
{
    private readonly Argument<string> _image = new("IMAGE") { Description = "the image file" };
    private readonly ChainOptions _chain = new();
    private readonly Option<bool> _json = JsonFlag();

    public InfoVerb()
        : base("info", "show an image's header, features, snapshots, bitmaps and backing chain",
            "qcow2blk info disk.qcow2", "qcow2blk info disk.qcow2 --json | jq -r '.chain[].filename'")
    {
        Arguments.Add(_image);
        foreach (var option in (Option[])[.. _chain.All, _json])
            Options.Add(option);
        Does(Print);
    }

    private ExitCode Print(ParseResult parsed)
    {
        var path = parsed.GetValue(_image)!;
        var (format, backing) = _chain.Read(parsed);
        try
        {
            using var chain = InspectedChain.Open(path, format, backing);
            var snapshots = chain.Images[0].ReadSnapshots();
            var bitmaps = chain.Images[0].ReadBitmaps(out var damage);
            var luks = chain.Images[0].ReadLuksHeader(out var luksDamage);
            var report = new InfoReport(
                chain, snapshots, bitmaps, damage, ImageUse.WriterOf(chain.Images[0].File), luks, luksDamage);
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
