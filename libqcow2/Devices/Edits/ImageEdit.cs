using System;
using System.Collections.Generic;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Image.Raw;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Devices.Edits;

/// <summary>
/// An operation on an image, as a name with arguments in text: so it can be sent to the server of an attached image, and be carried
/// out here on one that is not attached.
/// </summary>
/// <param name="Name">one of <see cref="ImageEdits"/></param>
/// <param name="Arguments">what it is to be done with</param>
internal sealed record ImageEdit(string Name, IReadOnlyDictionary<string, string> Arguments)
{
    /// <summary>The argument of this name.</summary>
    /// <returns>null if it was not given</returns>
    public string? Find(string argument) => Arguments.GetValueOrDefault(argument);

    /// <exception cref="OutcomeException">it was not given</exception>
    public string Need(string argument) => Find(argument)
        ?? throw new OutcomeException(OutcomeKind.Invalid, $"bad {Name}", $"it needs {argument}");
}

/// <summary>What is known of a kind of edit.</summary>
/// <param name="What">what could not be done, before the image's name: "cannot add bitmap b0 to"</param>
/// <param name="Writes">
/// whether the image is changed: then it has to be open for writing, and its requests wait while it runs
/// </param>
/// <param name="Arguments">those it knows; others are refused</param>
/// <param name="Run">does it, on the home loop, with the image as <see cref="Qcow2Image.EditAsync"/> leaves it if it writes</param>
internal sealed record ImageEditKind(
    Func<ImageEdit, string> What, bool Writes, IReadOnlyList<string> Arguments, Func<ImageEdit, Qcow2Image, LoopTask<EditAnswer>> Run)
{
    /// <summary>The argument that says that it is meant.</summary>
    public const string Force = "force";

    /// <summary>Why it has to be said that this is meant, of an attached image; null if it need not.</summary>
    public string? NeedsForce { get; init; }

    /// <summary>The edit as steps, of which only some hold requests of an attached image back; null if it is done in one.</summary>
    public Func<ImageEdit, Qcow2Image, ILongEdit>? InSteps { get; init; }

    /// <summary>Whether the image is of another size or content afterwards: it is closed, and opened again to be used.</summary>
    public bool Reopens { get; init; }

    /// <summary>
    /// What can be known before anything is changed, and before the requests of an attached disk wait: an answer ends the edit.
    /// On the home loop.
    /// </summary>
    public Func<ImageEdit, IDisk, LoopTask<EditAnswer?>>? Check { get; init; }

    /// <summary>Does it to a raw disk; null if only qcow2 images have that.</summary>
    public Func<ImageEdit, RawDisk, LoopTask<EditAnswer>>? RunRaw { get; init; }

    /// <summary>Bytes that a disk of so many will have, if all goes well; null if an edit leaves the size alone.</summary>
    public Func<ImageEdit, long, long>? SizeAfter { get; init; }
}
