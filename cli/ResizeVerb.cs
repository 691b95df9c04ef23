using System.Collections.Generic;
using System.CommandLine;
using System.Text;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk resize TARGET|IMAGE SIZE</c>.</summary>
internal sealed class ResizeVerb : EditVerb
{
    private readonly Argument<string> _size = new("SIZE")
    {
        Description = "the new size, such as 10G; +10G or -1G to make the disk larger or smaller by that",
    };

    private readonly Option<bool> _shrink = Flag("--shrink", "make the disk smaller; what is behind its new end is lost");

    private readonly Option<bool> _force = Flag("--force", "with --shrink: a device that is open, too; whoever uses it loses its end");

    private readonly Option<bool> _json = JsonFlag();

    private readonly TableOptions _image =
        new("format", "data-file", "key-file", "key-credential", "key-env", "key-fd", "key-prompt");

    public ResizeVerb()
        : base("resize", "make a disk larger or smaller",
            "qcow2blk resize disk +10G",
            "qcow2blk resize disk.qcow2 200M",
            "qcow2blk resize disk.qcow2 -1M --shrink")
    {
        Arguments.Add(Target);
        Arguments.Add(_size);
        foreach (var option in (Option[])[_shrink, _force, .. _image.All, Timeout, _json])
            Options.Add(option);
        Does(Run);
    }

    /// <summary>-1G is a size.</summary>
    internal override bool IsValue(string token) => token.Length > 1 && char.IsAsciiDigit(token[1]);

    protected override AttachOptions Unattached(ParseResult parsed) => _image.Read(parsed);

    private ExitCode Run(ParseResult parsed)
    {
        var arguments = new Dictionary<string, string> { ["size"] = parsed.GetValue(_size)! };
        SizeChange.Parse(arguments["size"]);
        if (parsed.GetValue(_shrink))
            arguments[ResizeEdits.Shrink] = "true";
        if (parsed.GetValue(_force))
            arguments[ImageEditKind.Force] = "true";
        var outcome = Run(parsed, new ImageEdit("resize", arguments));
        if (outcome.Note is { } note)
            Output.Note($"{parsed.GetValue(Target)}: {note}");
        if (parsed.GetValue(_json) && outcome.Json is { } json)
            Output.Json(writer => Output.Copy(writer, Encoding.UTF8.GetBytes(json)));
        return ExitCode.Done;
    }
}
