using System;
using System.CommandLine;
using System.IO;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Logging;

namespace Qcow2Blk.Cli;

/// <summary>
/// What the verbs share that operate on an image: an attached one is its server's to change, another is opened here.
/// </summary>
internal abstract class EditVerb : Verb
{
    private readonly Option<string> _timeout = Text("--timeout", "SECONDS", "how long an attached device may take [default: 30]");

    protected EditVerb(string name, string description, params string[] examples)
        : base(name, description, examples)
    {
    }

    /// <summary>The argument that says which image is meant.</summary>
    protected Argument<string> Target { get; } = new("TARGET|IMAGE")
    {
        Description = "a device (its name, device path, image or URI), or an image that is not attached",
    };

    /// <summary>To be added with the verb's own options.</summary>
    protected Option<string> Timeout => _timeout;

    /// <summary>Carries an edit out, wherever the image is.</summary>
    /// <param name="parsed">has the target</param>
    /// <param name="edit">what to do</param>
    /// <exception cref="OutcomeException">it was refused or failed</exception>
    protected Outcome Run(ParseResult parsed, ImageEdit edit) => On(parsed.GetValue(Target)!, parsed, edit);

    /// <summary>Carries an edit out, wherever the image is.</summary>
    /// <param name="target">which image is meant</param>
    /// <param name="parsed">has the options</param>
    /// <param name="edit">what to do</param>
    /// <exception cref="OutcomeException">it was refused or failed</exception>
    protected Outcome On(string target, ParseResult parsed, ImageEdit edit)
    {
        var timeout = TimeoutOf(parsed);
        var registry = Targets.Registry();
        var outcome = Find(registry, target) is { } entry
            ? OnDevice(registry, entry, edit, timeout)
            : Open(Unattached(parsed) with { Image = Path.GetFullPath(target) }, edit);
        RefuseUnlessDone(outcome);
        return outcome;
    }

    protected TimeSpan TimeoutOf(ParseResult parsed) => DeviceCommand.Seconds(parsed, _timeout);

    /// <exception cref="OutcomeException">it was refused or failed</exception>
    protected static void RefuseUnlessDone(in Outcome outcome)
    {
        if (outcome.Succeeded)
            return;
        var why = outcome.Note is { } note ? $"{outcome.Why}, {note}" : outcome.Why;
        throw new OutcomeException(outcome.Kind, outcome.What ?? "failed", why ?? "failed", outcome.Hint) { Error = outcome.Error };
    }

    /// <summary>Connects to the server of a device.</summary>
    /// <exception cref="OutcomeException">it cannot be asked now</exception>
    protected static ControlClient Connect(DeviceRegistry registry, DeviceEntry entry, ImageEdit edit)
    {
        var what = $"{ImageEdits.KindOf(edit).What(edit)} {entry.Record.Name}";
        if (!entry.Alive)
            RefuseUnlessDone(Dead(registry, entry, what));
        return ControlClient.TryConnect(registry.Directory, entry.Record.Name)
            ?? throw new OutcomeException(OutcomeKind.Busy, what, "its server is still starting", "try again");
    }

    /// <summary>What the command line says of an image that is not attached; its path is known.</summary>
    protected virtual AttachOptions Unattached(ParseResult parsed) => new() { Image = "" };

    private static Outcome Open(AttachOptions options, ImageEdit edit)
    {
        var collected = KeySources.Collect(options);
        using var held = collected.HeldKey;
        return UnattachedImage.Edit(collected, edit, new StderrLog(LogLevel.Warning));
    }

    /// <returns>null if no device answers to the target, and a file does</returns>
    protected static DeviceEntry? Find(DeviceRegistry registry, string target)
    {
        try
        {
            return registry.Resolve(target);
        }
        catch (OutcomeException error) when (error.Kind == OutcomeKind.NotFound && File.Exists(target))
        {
            return null;
        }
        catch (OutcomeException error) when (error.Kind == OutcomeKind.NotFound)
        {
            throw new OutcomeException(OutcomeKind.NotFound, $"no device or image {target}",
                "no attached device has that name, path, image or URI, and there is no such file", error.Hint);
        }
    }

    private static Outcome OnDevice(DeviceRegistry registry, DeviceEntry entry, ImageEdit edit, TimeSpan timeout)
    {
        using var client = Connect(registry, entry, edit);
        return client.Ask(new ControlRequest(
            ControlVerb.Edit, timeout, Force: false, AllowShrink: false, Options: edit.Arguments, Edit: edit.Name)).Result;
    }

    private static Outcome Dead(DeviceRegistry registry, DeviceEntry entry, string what) => entry.IsRecovering
        ? Outcome.Refused(OutcomeKind.Busy, what, "its server died and is being started again", "try again in a moment")
        : Outcome.Refused(OutcomeKind.Failed, what, "its server is dead, and its last writes may not be in the image",
            registry.IsLost(entry)
                ? $"\"qcow2blk attach --recover {entry.Record.Name}\" starts one, \"qcow2blk detach {entry.Record.Name}\" ends it"
                : $"\"qcow2blk detach {entry.Record.Name}\" cleans up after it");
}
