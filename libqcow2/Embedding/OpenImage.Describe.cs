using System;
using System.Buffers;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image.Opening;

namespace Qcow2Blk.Embedding;

/// <summary>What is to be known of the image.</summary>
internal sealed partial class OpenImage
{
    /// <summary>The version of qcow2; 0 for a raw image.</summary>
    public int FormatVersion => _disk is Qcow2Image image ? (int)image.Header.Version : 0;

    /// <summary>As the image says it; null if it has none.</summary>
    public string? BackingFile => (_disk as Qcow2Image)?.Header.BackingFile;

    /// <summary>JSON in UTF-8; the members are listed in docs/json.md.</summary>
    public ReadOnlyMemory<byte> Info()
    {
        var text = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(text))
        {
            writer.WriteStartObject();
            writer.WriteString("image", _disk.File.Path);
            if ((_lost ?? _disk.WriteErrorReason) is { } reason)
                writer.WriteString("error", reason);
            ImageStatus.Write(writer, _disk, _chain, Size, ReadOnly);
            writer.WriteEndObject();
        }

        return text.WrittenMemory;
    }

    /// <summary>The internal snapshots.</summary>
    /// <param name="snapshots">in the order of the image; none for a raw one</param>
    /// <returns>whether it could</returns>
    /// <exception cref="Exception">anything that <see cref="Failure.Of(Exception, string)"/> knows</exception>
    public Outcome ListSnapshots(out IReadOnlyList<ListedSnapshot> snapshots)
    {
        IReadOnlyList<ListedSnapshot> found = [];
        var refused = InTurn($"cannot list the snapshots of {Name}", async _ =>
        {
            if (_disk is Qcow2Image image)
                found = [.. (await image.ListSnapshotsAsync()).Select(entry => ListedSnapshot.Of(entry, image.Size))];
            return 0;
        });
        snapshots = found;
        return refused ?? Outcome.Done();
    }
}
