using System.CommandLine;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;

namespace Qcow2Blk.Cli;

/// <summary>What can be said of backing files where an image does not say it, or not any more.</summary>
internal sealed class BackingOptions
{
    private readonly Option<string> _file = Verb.Text("--backing", "FILE",
        "the image's backing file, in place of the one that it names; the image is not changed");
    private readonly Option<string> _format = new("--backing-format")
    {
        Description = "the format of backing files whose format no image states; never probed",
        HelpName = string.Join('|', ImageFormats.Words.All),
    };

    internal BackingOptions() => _format.CompletionSources.Add([.. ImageFormats.Words.All]);

    internal Option[] All => [_file, _format];

    /// <summary>The file that was given, as an absolute path.</summary>
    internal string? File(ParseResult parsed) => parsed.GetValue(_file) is { } file ? Verb.Absolute(file) : null;

    /// <exception cref="OutcomeException">usage: a format that is not known</exception>
    internal ImageFormat? Format(ParseResult parsed)
        => parsed.GetValue(_format) is null ? null : ImageFormats.Words.Parse(Verb.Word(parsed, _format, ImageFormats.Words.All));

    /// <summary>As <c>info</c> and <c>map</c> need it.</summary>
    /// <param name="parsed">the command line</param>
    /// <param name="image">the format of the image</param>
    /// <exception cref="OutcomeException">usage</exception>
    internal BackingChoice Choice(ParseResult parsed, ImageFormat image)
    {
        if (image == ImageFormat.Raw && All.FirstOrDefault(option => parsed.GetResult(option) is { Implicit: false }) is { } given)
            throw new OutcomeException(OutcomeKind.Invalid, $"{given.Name} needs --format qcow2", "a raw image has no backing file");
        return new BackingChoice(File(parsed), Format(parsed));
    }
}
