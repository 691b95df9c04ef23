using System;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Qcow2Blk.Creation;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Embedding;

/// <summary>Makes an image for a program.</summary>
internal static class NewImage
{
    /// <param name="path">of the image file</param>
    /// <param name="size">bytes of the disk; null for that of the backing file, or what the options say</param>
    /// <param name="settings">options of the new image, and its key</param>
    /// <param name="replace">whether a file that is there may be replaced</param>
    /// <exception cref="Exception">anything that <see cref="Failure.Of(Exception, string)"/> knows; nothing has changed</exception>
    public static void Create(string path, long? size, OpenSettings settings, bool replace)
    {
        ArgumentNullException.ThrowIfNull(settings);
        var options = settings.OfNew(path, replace);
        if (size is { } bytes)
        {
            if (options.Size is not null)
            {
                throw new OutcomeException(OutcomeKind.Invalid, $"cannot create {path}", "its size is given twice",
                    "-1 leaves it to the option \"size\"");
            }

            options = options with { Size = bytes };
        }

        var given = settings.OfKeys(path);
        var sources = KeySources.Collect(given);
        using var collected = sources.HeldKey == given.HeldKey ? null : sources.HeldKey;
        var keys = KeySources.Read(sources);
        try
        {
            _ = ImageCreation.Create(options, OneOf(keys, path));
        }
        finally
        {
            KeySources.Dispose(keys, sources);
        }
    }

    private static SecretMemory? OneOf(List<SecretMemory> keys, string path) => keys.Count <= 1 ? keys.Count == 0 ? null : keys[0]
        : throw new OutcomeException(OutcomeKind.Invalid, $"cannot create {path}", $"{keys.Count} keys were given", "a new image has one");
}
