using System;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Creation;

/// <summary>One option of <c>create</c>, under qemu-img's name.</summary>
/// <param name="Name">as after <c>-o</c>, and where options are set by name</param>
/// <param name="ValueName">what stands for its value in the manual</param>
/// <param name="Help">what it does</param>
/// <param name="Set">the options with a value, given as text</param>
internal sealed record CreateOption(string Name, string ValueName, string Help, Func<CreateOptions, string, CreateOptions> Set)
{
    /// <summary>The refusal of a value.</summary>
    public static OutcomeException Bad(string name, string text, string why, string? hint = null) =>
        new(OutcomeKind.Invalid, $"{name}={text} is not possible", why, hint);
}
