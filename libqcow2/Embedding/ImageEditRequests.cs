using System.Collections.Generic;
using System.Globalization;
using Qcow2Blk.Devices.Edits;

namespace Qcow2Blk.Embedding;

/// <summary>The edits that programs ask for, of images and of devices.</summary>
internal static class ImageEditRequests
{
    public static ImageEdit ListSnapshots() => new("snapshot-list", new Dictionary<string, string>());

    public static ImageEdit CreateSnapshot(string name) => Of("snapshot-create", name);

    public static ImageEdit DeleteSnapshot(string which) => Of("snapshot-delete", which);

    /// <param name="which">ID or name</param>
    /// <param name="force">whether it is meant, of a device too</param>
    public static ImageEdit RevertSnapshot(string which, bool force)
    {
        var arguments = Named(which);
        if (force)
            arguments[ImageEditKind.Force] = "true";
        return new ImageEdit("snapshot-revert", arguments);
    }

    public static ImageEdit ListBitmaps() => new("bitmap-list", new Dictionary<string, string>());

    /// <param name="name">of the bitmap</param>
    /// <param name="granularity">0 for the usual one</param>
    /// <param name="disabled">whether it does not record yet</param>
    public static ImageEdit AddBitmap(string name, ulong granularity, bool disabled)
    {
        var arguments = Named(name);
        if (granularity != 0)
            arguments["granularity"] = granularity.ToString(CultureInfo.InvariantCulture);
        if (disabled)
            arguments["disabled"] = "true";
        return new ImageEdit("bitmap-add", arguments);
    }

    public static ImageEdit RemoveBitmap(string name) => Of("bitmap-remove", name);

    public static ImageEdit ClearBitmap(string name) => Of("bitmap-clear", name);

    public static ImageEdit EnableBitmap(string name) => Of("bitmap-enable", name);

    public static ImageEdit DisableBitmap(string name) => Of("bitmap-disable", name);

    public static ImageEdit MergeBitmap(string name, string from)
    {
        var arguments = Named(name);
        arguments["from"] = from;
        return new ImageEdit("bitmap-merge", arguments);
    }

    public static ImageEdit ListCheckpoints() => new("checkpoint-list", new Dictionary<string, string>());

    /// <param name="name">of the checkpoint</param>
    /// <param name="granularity">0 for that of the checkpoint before, or the usual one</param>
    public static ImageEdit CreateCheckpoint(string name, ulong granularity)
    {
        var arguments = Named(name);
        if (granularity != 0)
            arguments["granularity"] = granularity.ToString(CultureInfo.InvariantCulture);
        return new ImageEdit("checkpoint-create", arguments);
    }

    public static ImageEdit DeleteCheckpoint(string name) => Of("checkpoint-delete", name);

    /// <param name="size">bytes of the disk</param>
    /// <param name="mayShrink">whether it may become smaller</param>
    /// <param name="force">whether a device may, that has users</param>
    public static ImageEdit Resize(ulong size, bool mayShrink, bool force)
    {
        var arguments = new Dictionary<string, string> { ["size"] = size.ToString(CultureInfo.InvariantCulture) };
        if (mayShrink)
            arguments[ResizeEdits.Shrink] = "true";
        if (force)
            arguments[ImageEditKind.Force] = "true";
        return new ImageEdit("resize", arguments);
    }

    private static ImageEdit Of(string edit, string name) => new(edit, Named(name));

    private static Dictionary<string, string> Named(string name) => new() { ["name"] = name };
}
