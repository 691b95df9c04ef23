using System;
using System.CommandLine;
using System.Text.Json;
using Qcow2Blk.Buffers;
using Qcow2Blk.Creation;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Logging;
using Qcow2Blk.Remote;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk create IMAGE SIZE</c>.</summary>
internal sealed class CreateVerb : Verb
{
    private readonly Argument<string> _image = new("IMAGE") { Description = "the image file to make" };
    private readonly Argument<string?> _size = new("SIZE")
    {
        Description = "the size of its disk, such as 10G [default: that of the backing file]",
        Arity = ArgumentArity.ZeroOrOne,
    };

    private readonly Option<string[]> _options = new("--option", "-o")
    {
        Description = "set options of the format, under the names that qemu-img gives them; may be repeated",
        HelpName = "NAME=VALUE,...",
    };

    private readonly Option<string> _backing =
        Text("--backing", "FILE", "make an overlay of FILE, whose name is relative to IMAGE unless it begins with / or is a URL");

    private readonly Option<string> _backingFormat =
        Text("--backing-format", "qcow2|raw", "the format of the backing file; it is never probed");

    private readonly TableOptions _keys = new("key-file", "key-credential", "key-env", "key-fd", "key-prompt");
    private readonly Option<bool> _force = Flag("--force", "replace a file that already exists, or overwrite a block device");
    private readonly Option<bool> _json = JsonFlag();

    public CreateVerb()
        : base("create", "make an image",
            "qcow2blk create new.qcow2 10G",
            "qcow2blk create overlay.qcow2 --backing disk.qcow2 --backing-format qcow2",
            "qcow2blk create -o cluster_size=2M,preallocation=metadata fast.qcow2 100G")
    {
        _backingFormat.CompletionSources.Add([.. ImageFormats.Words.All]);
        Arguments.Add(_image);
        Arguments.Add(_size);
        foreach (var option in (Option[])[_options, _backing, _backingFormat, .. _keys.All, _force, _json])
            Options.Add(option);
        Does(Create);
    }

    private ExitCode Create(ParseResult parsed)
    {
        var options = WithSize(Read(parsed));
        using var bar = ProgressBar.For(options.Image);
        CreatedImage created;
        try
        {
            created = WithKey(parsed, options, key => ImageCreation.Create(options, key, bar is null ? null : bar.Show));
        }
        catch (Exception error) when (error is not OutcomeException)
        {
            throw Refusals.From(error, $"cannot create {options.Image}");
        }

        if (parsed.GetValue(_json))
            Output.Json(writer => Describe(writer, created));
        return ExitCode.Done;
    }

    /// <summary>An overlay of a base in a store is as large as that: the base is asked.</summary>
    private static CreateOptions WithSize(CreateOptions options)
    {
        if (options is not { Size: null, BackingFile: { } url, BackingFormat: { } format } || !RemoteLocation.IsUrl(url))
            return options;
        if (RemoteLocation.Parse(url, out var location) is not null || (location!.IsHttp && location.Uri.Query.Length > 0))
            return options;
        try
        {
            return options with { Size = RemoteDisk.SizeOf(location, format, new StderrLog(LogLevel.Error)) };
        }
        catch (Exception error) when (error is not OutcomeException)
        {
            var failure = Refusals.From(error, $"cannot create {options.Image}");
            throw new OutcomeException(failure.Kind, failure.What, failure.Why, "with SIZE, the base is not asked");
        }
    }

    /// <summary>The key is in locked memory for as long as it is needed.</summary>
    private CreatedImage WithKey(ParseResult parsed, CreateOptions options, Func<SecretMemory?, CreatedImage> create)
    {
        var sources = KeySources.Collect(_keys.Read(parsed) with { Image = options.Image });
        using var held = sources.HeldKey;
        var keys = KeySources.Read(sources);
        try
        {
            return keys.Count <= 1 ? create(keys.Count == 0 ? null : keys[0])
                : throw new OutcomeException(OutcomeKind.Invalid, $"cannot create {options.Image}", $"{keys.Count} keys were given",
                    "a new image has one");
        }
        finally
        {
            KeySources.Dispose(keys, sources);
        }
    }

    private CreateOptions Read(ParseResult parsed)
    {
        var options = new CreateOptions { Image = parsed.GetValue(_image)!, Force = parsed.GetValue(_force) };
        foreach (var list in parsed.GetValue(_options) ?? [])
            options = CreateOptionTable.SetAll(options, list);
        if (parsed.GetValue(_size) is { } size)
            options = CreateOptionTable.Set(options, "size", size);
        if (parsed.GetValue(_backing) is { } backing)
            options = Said(options, "--backing", "backing_file", options.BackingFile, backing);
        if (parsed.GetValue(_backingFormat) is { } format)
        {
            options = Said(options, "--backing-format", "backing_fmt",
                options.BackingFormat is { } before ? ImageFormats.Words.Of(before) : null, format);
        }

        return options;
    }

    private static CreateOptions Said(CreateOptions options, string option, string name, string? before, string text) => before is null
        ? CreateOptionTable.Set(options, name, text)
        : throw new OutcomeException(OutcomeKind.Invalid, $"{option} and {name} cannot be used together", "they say the same",
            "leave one out");

    private static void Describe(Utf8JsonWriter writer, CreatedImage created)
    {
        var options = created.Options;
        writer.WriteStartObject();
        writer.WriteString("filename"u8, options.Image);
        writer.WriteString("format"u8, "qcow2"u8);
        writer.WriteNumber("virtual-size"u8, options.Size!.Value);
        writer.WriteNumber("file-size"u8, created.FileLength);
        writer.WriteNumber("cluster-size"u8, options.ClusterSize);
        writer.WriteString("compat"u8, options.Version == 2 ? "0.10"u8 : "1.1"u8);
        writer.WriteNumber("refcount-bits"u8, options.RefcountBits);
        writer.WriteBoolean("lazy-refcounts"u8, options.LazyRefcounts);
        writer.WriteBoolean("extended-l2"u8, options.ExtendedL2);
        writer.WriteString("compression-type"u8, CompressionTypes.Words.Of(options.CompressionType));
        writer.WriteString("preallocation"u8, PreallocationModes.Words.Of(options.Preallocation));
        writer.WriteString("backing-filename"u8, options.BackingFile);
        writer.WriteString("backing-format"u8, options.BackingFormat is { } format ? ImageFormats.Words.Of(format) : null);
        writer.WriteString("data-file"u8, options.DataFile);
        writer.WriteBoolean("data-file-raw"u8, options.DataFileRaw);
        writer.WriteBoolean("encrypted"u8, options.Luks);
        writer.WriteEndObject();
    }
}
