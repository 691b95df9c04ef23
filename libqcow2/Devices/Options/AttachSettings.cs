using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Options;

/// <summary>
/// Options given one after the other, by name and text: by a command line, a configuration file, or a program in another
/// language.
/// </summary>
/// <param name="start">what holds where nothing is given; at least the image</param>
internal sealed class AttachSettings(AttachOptions start)
{
    private readonly List<AttachOption> _given = [];

    /// <summary>What was given until now, on top of the start.</summary>
    public AttachOptions Options { get; private set; } = start;

    /// <summary>Whether anything was said of how the disk is offered: an address, or an option of block devices.</summary>
    public bool SaysHowToServe => !Options.IsBlockDevice || _given.Any(option => option.IsOfBlockDevice);

    /// <summary>The names of what was given.</summary>
    public IEnumerable<string> Given => _given.Select(option => option.Name);

    /// <summary>What was given and is not about the image alone.</summary>
    public IEnumerable<string> OfDevices => _given.Where(option => !option.IsOfImage).Select(option => option.Name);

    /// <param name="name">without dashes: "cache-size"</param>
    /// <param name="text">its value; "true" or "false" for a flag; a list gets one value more with each call</param>
    /// <exception cref="OutcomeException">usage: no such option, or not a value of it; nothing has changed</exception>
    public void Set(string name, string text) => Set(AttachOptionTable.Named(name), text);

    /// <exception cref="OutcomeException">usage: it is not a value of the option; nothing has changed</exception>
    public void Set(AttachOption option, string text)
    {
        ArgumentNullException.ThrowIfNull(option);
        Options = option.Set(Options, text);
        _given.Add(option);
    }

    /// <summary>The options, which make sense together.</summary>
    /// <exception cref="OutcomeException">usage: the first rule that is broken</exception>
    public AttachOptions ToOptions() => OptionsOf(Options.Image);

    /// <summary>The same of another image.</summary>
    /// <exception cref="OutcomeException">usage: the first rule that is broken</exception>
    public AttachOptions OptionsOf(string image)
    {
        var options = Options with { Image = image };
        AttachRules.CheckGiven([.. _given.Where(option => option.IsOfBlockDevice).Select(option => option.Switch)], options);
        AttachRules.Check(options);
        return options;
    }
}
