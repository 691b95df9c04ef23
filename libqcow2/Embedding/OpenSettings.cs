using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Buffers;
using Qcow2Blk.Creation;
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
    private readonly List<string> _ofNew = [];
    private CreateOptions _new = new() { Image = "" };
    private SecretMemory? _key;

    /// <summary>The files of the chain that are open already, the image's first; they belong to the settings.</summary>
    public IReadOnlyList<int> Files => _files;

    /// <exception cref="OutcomeException">usage: no such option, or not a value of it; nothing has changed</exception>
    public void Set(string name, string text)
    {
        if (!CreateOptionTable.All.Any(option => option.Name == name))
        {
            _settings.Set(name, text);
            return;
        }

        _new = CreateOptionTable.Set(_new, name, text);
        _ofNew.Add(name);
    }

    /// <summary>Keeps a copy of the key of an encrypted image, in the place of the one before.</summary>
    public void SetKey(ReadOnlySpan<byte> key)
    {
        var copy = SecretMemory.CopyOf(key);
        _key?.Dispose();
        _key = copy;
    }

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

    /// <summary>Another descriptor of the same open file.</summary>
    /// <exception cref="IOException">there are none left</exception>
    internal static int Duplicate(int descriptor)
    {
        var own = Errno.Of(Fcntl.Control(descriptor, F_DUPFD_CLOEXEC, 0));
        return own >= 0 ? own : throw new IOException($"cannot duplicate descriptor {descriptor}: {Errno.Text(own)}", -own);
    }

    public void Close()
    {
        foreach (var file in _files)
            _ = Interop.Files.Close(file);
        _files.Clear();
        _key?.Dispose();
        _key = null;
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

        RefuseOfNew(what);
        var options = _settings.Options with { HeldKey = _key, Image = path is null ? "" : FilePath.Absolute(path), IsForUsAlone = true };
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

        RefuseOfNew($"cannot attach {path}");
        return _settings.OptionsOf(FilePath.Absolute(path)) with { HeldKey = _key };
    }

    /// <summary>The options of an image that is to be made.</summary>
    /// <param name="path">of its file</param>
    /// <param name="replace">whether a file that is there may be replaced</param>
    /// <exception cref="OutcomeException">usage: some of the options are not for it</exception>
    public CreateOptions OfNew(string path, bool replace)
    {
        var what = $"cannot create {path}";
        if (_files.Count > 0)
            throw new OutcomeException(OutcomeKind.Invalid, what, "descriptors are for images that are there already");
        if (_settings.Given.FirstOrDefault(name => !name.StartsWith("key-", StringComparison.Ordinal)) is { } other)
        {
            throw new OutcomeException(OutcomeKind.Invalid, what, $"option \"{other}\" is for images that are there already",
                "leave it out");
        }

        return _new with { Image = path, Force = replace };
    }

    /// <summary>What says where the key of a new image is.</summary>
    public AttachOptions OfKeys(string path)
    {
        var options = _settings.Options with { Image = path, HeldKey = _key };
        AttachRules.Check(options with { IsForUsAlone = true });
        return options;
    }

    private void RefuseOfNew(string what)
    {
        if (_ofNew.Count > 0)
            throw new OutcomeException(OutcomeKind.Invalid, what, $"option \"{_ofNew[0]}\" is for a new image", "leave it out");
    }
}
