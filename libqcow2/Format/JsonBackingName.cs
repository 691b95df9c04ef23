using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.Json;

namespace Qcow2Blk.Format;

/// <summary>
/// A backing file name that describes a node of qemu's: <c>json:{"driver":"qcow2","file":{"driver":"file","filename":"/base"}}</c>, or
/// the same with <c>"file.filename"</c>. Only that much is read; whatever else it says is refused by name.
/// </summary>
/// <param name="Format">the format that it states; null if it is left to the overlay</param>
/// <param name="FileName">an absolute file name</param>
internal sealed record JsonBackingName(ImageFormat? Format, string FileName)
{
    public const string Prefix = "json:";

    private const string FileDriver = "file";

    /// <exception cref="ImageFormatException">it is not JSON, or says something else than which file in which format</exception>
    public static JsonBackingName Parse(string overlayPath, string name)
    {
        var members = new Dictionary<string, string>();
        try
        {
            using var document = JsonDocument.Parse(name.AsMemory(Prefix.Length), new JsonDocumentOptions { MaxDepth = 8 });
            Flatten(overlayPath, document.RootElement, "", members);
        }
        catch (JsonException)
        {
            throw Bad(overlayPath, "is not valid JSON");
        }

        if (members.Keys.FirstOrDefault(member => member is not ("driver" or "filename" or "file.driver" or "file.filename")) is { } other)
            throw Bad(overlayPath, $"has the member \"{other}\", which is not supported");
        members.TryGetValue("driver", out var driver);
        return driver == FileDriver ? new(null, FileOf(overlayPath, members, "", "file.")) : new(
            driver is null ? null : ImageFormats.Words.TryParse(driver)
                ?? throw Bad(overlayPath, $"has the driver \"{driver}\", and only qcow2, raw and file are supported"),
            FileOf(overlayPath, members, "file.", ""));
    }

    /// <summary>As qemu does: members of "file" are "file.driver" and "file.filename".</summary>
    private static void Flatten(string overlayPath, JsonElement element, string prefix, Dictionary<string, string> members)
    {
        if (element.ValueKind != JsonValueKind.Object)
            throw Bad(overlayPath, "is not a JSON object");
        foreach (var member in element.EnumerateObject())
        {
            var path = prefix + member.Name;
            if (member.Value.ValueKind == JsonValueKind.Object)
                Flatten(overlayPath, member.Value, path + ".", members);
            else if (member.Value.ValueKind != JsonValueKind.String)
                throw Bad(overlayPath, $"has the member \"{path}\", which is not text");
            else if (!members.TryAdd(path, member.Value.GetString()!))
                throw Bad(overlayPath, $"has the member \"{path}\" twice");
        }
    }

    /// <param name="overlayPath">for messages</param>
    /// <param name="members">what the name says</param>
    /// <param name="here">what stands before the members that name the file</param>
    /// <param name="elsewhere">what would stand before them if the driver were another one</param>
    private static string FileOf(string overlayPath, Dictionary<string, string> members, string here, string elsewhere)
    {
        if (members.Keys.FirstOrDefault(member => member == elsewhere + "filename" || (elsewhere.Length > 0 && member == "file.driver")) is
            { } wrong)
        {
            throw Bad(overlayPath, $"has the member \"{wrong}\", which does not belong to its driver");
        }

        if (here.Length > 0 && members.TryGetValue("file.driver", out var protocol) && protocol != FileDriver)
            throw Bad(overlayPath, $"has the file.driver \"{protocol}\", and only file is supported");
        if (!members.TryGetValue(here + "filename", out var file))
            throw Bad(overlayPath, "names no file");
        // qemu looks in the directory that it runs in, which has nothing to do with the image, and is not ours.
        return file.StartsWith('/') ? file : throw Bad(overlayPath, $"has the file name \"{file}\", which is not absolute");
    }

    private static ImageFormatException Bad(string overlayPath, string why) =>
        new(overlayPath, "backing_file_name", $"backing file name {Prefix}… {why}", "--backing FILE says what the backing file is");
}
