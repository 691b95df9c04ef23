using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Embedding;

/// <summary>How a program wants its images and devices: options by name, and open files. One thread at a time.</summary>
internal sealed class OpenSettings
{
    private readonly AttachSettings _settings = new(new AttachOptions { Image = "" });
    private readonly List<int> _files = [];

    /// <summary>The files of the chain that are open already, the image's first; they belong to the settings.</summary>
    public IReadOnlyList<int> Files => _files;

    /// <exception cref="OutcomeException">usage: no such option, or not a value of it; nothing has changed</exception>
    public void Set(string name, string text) => _settings.Set(name, text);

    /// <summary>Keeps a duplicate of a descriptor.</summary>
    /// <returns>0 or a negative errno</returns>
    public int AddFile(int descriptor)
    {
        if (_files.Count >= Limits.MaxBackingDepth)
            return -Errno.E2BIG;
        var own = Errno.Of(Fcntl.Control(descriptor, F_DUPFD_CLOEXEC, 0));
        if (own >= 0)
            _files.Add(own);
        return own < 0 ? own : 0;
    }

    public void Close()
    {
        foreach (var file in _files)
            _ = Interop.Files.Close(file);
        _files.Clear();
    }

    /// <summary>The options of an image that a program opens for itself.</summary>
    /// <param name="path">null if files are given</param>
    /// <param name="readOnly">whether it is read-only whatever the options say</param>
    /// <exception cref="OutcomeException">usage</exception>
    public AttachOptions OfImage(string? path, bool readOnly)
    {
        var what = $"cannot open {path ?? "the image"}";
        if (path is null && _files.Count == 0)
            throw new OutcomeException(OutcomeKind.Invalid, what, "there is neither a path nor a descriptor");
        if (_settings.OfDevices.FirstOrDefault() is { } other)
        {
            throw new OutcomeException(OutcomeKind.Invalid, what, $"option \"{other}\" is for devices",
                "leave it out, or attach the image");
        }

        var options = _settings.Options with { Image = path is null ? "" : FilePath.Absolute(path), IsForUsAlone = true };
        options = options with { ReadOnly = options.ReadOnly || readOnly };

        // Rules about the image need a name.
        AttachRules.Check(path is null ? options with { Image = "image" } : options);
        return options;
    }

    /// <summary>The options of a device.</summary>
    /// <exception cref="OutcomeException">usage</exception>
    public AttachOptions OfDevice(string path)
    {
        if (_files.Count > 0)
        {
            throw new OutcomeException(
                OutcomeKind.Invalid, $"cannot attach {path}", "descriptors are for images that a program opens for itself",
                "a device opens its files again after each suspend: give their names");
        }

        return _settings.OptionsOf(FilePath.Absolute(path));
    }
}
