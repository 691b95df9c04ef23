using System;
using System.Buffers;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Qcow2Blk.Cli.Terminal;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Cli;

/// <summary>What a command says: results on standard output, everything else on standard error.</summary>
internal static class Output
{
    /// <summary>The name that messages begin with: what the user called.</summary>
    internal static string Program { get; set; } = "qcow2blk";

    private const int StandardOutput = 1, StandardError = 2;

    // Not for web pages: "+" in a URI stays readable.
    private static readonly JsonWriterOptions s_indented = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    internal static void Line(string text) => Write(text + "\n");

    internal static void Write(string text) => Raw(Encoding.UTF8.GetBytes(text));

    /// <summary>One indented JSON value.</summary>
    internal static void Json(Action<Utf8JsonWriter> compose) => Raw(AsJson(compose).Span);

    /// <summary>One JSON value on a line of its own, for those that come again and again.</summary>
    internal static void JsonLine(Action<Utf8JsonWriter> compose) => Raw(AsJson(compose, s_indented with { Indented = false }).Span);

    /// <summary>As <see cref="Json"/>, to be written elsewhere.</summary>
    internal static ReadOnlyMemory<byte> AsJson(Action<Utf8JsonWriter> compose) => AsJson(compose, s_indented);

    private static ReadOnlyMemory<byte> AsJson(Action<Utf8JsonWriter> compose, JsonWriterOptions options)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, options))
            compose(writer);
        buffer.Write("\n"u8);
        return buffer.WrittenMemory;
    }

    /// <summary>Copies JSON of a server into a document of ours, reformatted.</summary>
    internal static void Copy(Utf8JsonWriter writer, ReadOnlyMemory<byte> json)
    {
        using var document = JsonDocument.Parse(json);
        document.RootElement.WriteTo(writer);
    }

    internal static void Error(OutcomeException error) => Error(error.What, error.Why, error.Hint);

    internal static void Error(string what, string why, string? hint) =>
        Diagnostic(Style.For(StandardError).Bad($"{Program}:") + " " + OutcomeException.Compose(what, why, hint) + "\n");

    /// <summary>Something harmless worth saying.</summary>
    internal static void Note(string text) => Diagnostic($"{Program}: {Printable.Escape(text)}\n");

    /// <summary>What goes beside the results, as it is.</summary>
    internal static void Aside(string text) => Diagnostic(text);

    /// <remarks>Not by the console of .NET: on a terminal it first sends sequences of its own, which stay in force.</remarks>
    private static void Diagnostic(string text) => _ = Unistd.WriteAll(StandardError, Encoding.UTF8.GetBytes(text));

    internal static void Raw(ReadOnlySpan<byte> bytes) => _ = Unistd.WriteAll(StandardOutput, bytes);
}
