using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Options;

/// <summary>
/// Directories, one each time that the option is given. Resolved here, once: what the name leads to later does not count.
/// </summary>
internal sealed class DirectoriesKind : TextsKind
{
    public override IReadOnlyList<string> Parse(string said, string text) =>
        text.Length > 0 && Path.GetFullPath(RealPath.Of(text)) is var real && Directory.Exists(real) ? [real]
            : throw new OutcomeException(OutcomeKind.Invalid, $"{said} {text} is not a directory", "backing files could never be opened");
}
