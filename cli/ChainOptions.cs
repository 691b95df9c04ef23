using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;

namespace Qcow2Blk.Cli;

/// <summary>What can be said of an image and its backing files where no device is made of them.</summary>
internal sealed class ChainOptions
{
    private readonly TableOptions _options = new("format", "backing", "backing-format");

    internal IEnumerable<Option> All => _options.All;

    /// <summary>The format of the image, and what is said of its backing files.</summary>
    /// <exception cref="OutcomeException">usage</exception>
    internal (ImageFormat Format, BackingChoice Backing) Read(ParseResult parsed)
    {
        var said = _options.Read(parsed);
        if (said.Format == ImageFormat.Raw && _options.Given(parsed).FirstOrDefault(option => option.Name != "format") is { } given)
            throw new OutcomeException(OutcomeKind.Invalid, $"{given.Switch} needs --format qcow2", "a raw image has no backing file");
        return (said.Format, new BackingChoice(said.Backing, said.BackingFormat));
    }
}
