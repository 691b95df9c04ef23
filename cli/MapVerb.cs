using System;
using System.Collections.Generic;
using System.CommandLine;
using System.IO;
using System.Text;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Inspect;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk map IMAGE</c>.</summary>
internal sealed class MapVerb : Verb
{
    private readonly Argument<string> _image = new("IMAGE") { Description = "the image file" };
    private readonly ChainOptions _chain = new();
    private readonly Option<bool> _json = JsonFlag();

    public MapVerb()
        : base("map", "show where each range of the disk is stored, over the whole backing chain",
            "qcow2blk map disk.qcow2", "qcow2blk map disk.qcow2 --json | jq 'map(select(.data).length) | add'")
    {
        Arguments.Add(_image);
        foreach (var option in (Option[])[.. _chain.All, _json])
            Options.Add(option);
        Does(Print);
    }

    private ExitCode Print(ParseResult parsed)
    {
        var path = parsed.GetValue(_image)!;
        var (format, backing) = _chain.Read(parsed);
        try
        {
            using var chain = InspectedChain.Open(path, format, backing);
            ImageUse.KeepWritersOut(chain);
            // A map can be long: it is written as it is found, not collected.
            using var output = Console.OpenStandardOutput();
            using var writer = new StreamWriter(output, new UTF8Encoding(false), 1 << 16);
            if (parsed.GetValue(_json))
                WriteJson(writer, chain);
            else
                WriteTable(writer, chain);
            return ExitCode.Done;
        }
        catch (Exception error) when (error is not OutcomeException)
        {
            throw Refusals.From(error, $"cannot map {path}");
        }
    }

    private static void WriteJson(StreamWriter writer, InspectedChain chain)
    {
        var separator = "[";
        foreach (var extent in new ChainMap(chain).Extents())
        {
            writer.Write(separator);
            writer.Write($"{{ \"start\": {extent.Start}, \"length\": {extent.Length}, \"depth\": {extent.Depth}, ");
            writer.Write($"\"present\": {Word(extent.Present)}, \"zero\": {Word(extent.Zero)}, \"data\": {Word(extent.Data)}, ");
            writer.Write($"\"compressed\": {Word(extent.Compressed)}");
            if (extent.Offset is { } offset)
                writer.Write($", \"offset\": {offset}, \"filename\": {Quoted(chain.Images[extent.Depth].DataPath)}");
            writer.Write('}');
            separator = ",\n";
        }

        writer.Write(separator == "[" ? "[]\n" : "]\n");
    }

    private static void WriteTable(StreamWriter writer, InspectedChain chain)
    {
        // Refused before anything is printed.
        var map = new ChainMap(chain);
        Row(writer, "Offset", "Length", "Mapped to", "File");
        foreach (var extent in map.Extents())
        {
            if (extent.Data && !extent.Zero)
            {
                Row(writer, Hex(extent.Start), Hex(extent.Length), extent.Offset is { } offset ? Hex(offset) : Unplaced(extent),
                    Printable.Escape(chain.Images[extent.Depth].DataPath));
            }
        }
    }

    private static string Unplaced(in MapExtent extent) => extent.Compressed ? "compressed" : "encrypted";

    private static void Row(StreamWriter writer, string start, string length, string mapped, string file) =>
        writer.Write($"{start,-16}{length,-16}{mapped,-16}{file}\n");

    private static string Hex(long value) => value == 0 ? "0" : $"0x{value:x}";

    private static string Word(bool value) => value ? "true" : "false";

    private static string Quoted(string text) =>
        '"' + System.Text.Json.JsonEncodedText.Encode(text, System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping)
        .ToString() + '"';
}
