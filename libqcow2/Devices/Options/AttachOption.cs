using System;
using System.Collections.Generic;
using System.Text.Json;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;

namespace Qcow2Blk.Devices.Options;

/// <summary>
/// One option of <c>attach</c>: everything that is to be known of it, for the command line, the state file, the documentation and
/// programs that set options by name. <see cref="AttachOptionTable"/> declares them.
/// </summary>
internal abstract class AttachOption
{
    private protected static readonly AttachOptions s_defaults = new() { Image = "" };

    /// <summary>Its name: on the command line with two dashes before it, in JSON, and where options are set by name.</summary>
    public required string Name { get; init; }

    /// <summary>Its name in JSON, if that is another one.</summary>
    internal string? Member { get; init; }

    /// <summary>What it does, for <c>--help</c>; null for what nobody sets by name: our processes tell each other.</summary>
    public string? Help { get; init; }

    /// <summary>What stands for the value in help: its words, if nothing else is said; null where there is no value.</summary>
    public string? ValueName
    {
        get => field ?? (IsFlag ? null : string.Join('|', Words));
        init;
    }

    /// <summary>What holds where it is not given: the value, or in words what is chosen then; null if that is nothing.</summary>
    public string? Default
    {
        get => field ?? (Texts(s_defaults) is [var only] ? only : null);
        init;
    }

    /// <summary>Not in help: not for people.</summary>
    public bool IsHidden { get; init; }

    /// <summary>Only block devices of the kernel have it.</summary>
    public bool IsOfBlockDevice { get; init; }

    /// <summary>Whether it is about the image alone: a program that opens one for itself has it, too.</summary>
    public bool IsOfImage { get; init; }

    /// <summary>Whether it may be given when a device is taken over, which else keeps the options that it had.</summary>
    public bool IsOfRecovery { get; init; }

    /// <summary>Whether <c>set</c> changes it while the device is attached.</summary>
    public bool IsSettable { get; init; }

    public OptionLife Life { get; init; }

    /// <summary>Whether JSON has it; the address of <c>--listen</c> is there in two parts.</summary>
    internal bool IsStored { get; init; } = true;

    /// <summary>Whether it can be set by name, on the command line for instance.</summary>
    public bool IsPublic => Help is not null;

    /// <summary>As it is written on the command line, and what messages call it.</summary>
    public string Switch => $"--{Name}";

    /// <summary>Whether it stands on the command line without a value.</summary>
    public abstract bool IsFlag { get; }

    /// <summary>Whether it may be given several times.</summary>
    public abstract bool IsList { get; }

    /// <summary>Every text that is a value; empty where there are too many.</summary>
    public abstract IReadOnlyList<string> Words { get; }

    /// <summary>Its values as <see cref="Set"/> reads them, one but for lists; none where it was not given.</summary>
    public abstract IReadOnlyList<string> Texts(AttachOptions options);

    /// <param name="options">as they were before; a list gets one value more</param>
    /// <param name="text">the value, as on the command line; "true" or "false" for a flag</param>
    /// <exception cref="OutcomeException">usage: it is not a value of this option</exception>
    public abstract AttachOptions Set(AttachOptions options, string text);

    /// <exception cref="OutcomeException">usage: the value is out of range</exception>
    internal abstract void Check(AttachOptions options);

    /// <summary>The options as if this one had not been given.</summary>
    internal abstract AttachOptions Reset(AttachOptions options);

    /// <summary>Writes it as a member, if it was given or has a default value.</summary>
    internal abstract void Write(Utf8JsonWriter writer, AttachOptions options);

    /// <summary>Reads the value that the reader stands on.</summary>
    /// <exception cref="JsonException">it is not a value of this option: member, value, and what is allowed</exception>
    internal abstract AttachOptions Read(ref Utf8JsonReader reader, AttachOptions options);
}

/// <param name="kind">what its value can be</param>
/// <param name="get">the value; null, or false, where it was not given</param>
/// <param name="set">the options with a value</param>
internal class AttachOption<T>(ValueKind<T> kind, Func<AttachOptions, T> get, Func<AttachOptions, T, AttachOptions> set) : AttachOption
{
    public override bool IsFlag => kind is FlagKind;

    public override bool IsList => kind is TextsKind;

    public override IReadOnlyList<string> Words => kind.Words;

    public override IReadOnlyList<string> Texts(AttachOptions options) => IsIn(options) ? kind.Print(get(options)) : [];

    public override AttachOptions Set(AttachOptions options, string text)
    {
        var value = kind.Parse(Switch, text);
        Require(value);
        return set(options, kind.Add(get(options), value));
    }

    internal override void Check(AttachOptions options)
    {
        if (IsIn(options))
            Require(get(options));
    }

    internal override AttachOptions Reset(AttachOptions options) => set(options, get(s_defaults));

    internal override void Write(Utf8JsonWriter writer, AttachOptions options)
    {
        if (!IsStored || !IsIn(options))
            return;
        writer.WritePropertyName(Member ?? Name);
        kind.Write(writer, get(options));
    }

    internal override AttachOptions Read(ref Utf8JsonReader reader, AttachOptions options)
    {
        var member = Member ?? Name;
        var found = JsonText.Of(ref reader);
        if (!kind.TryRead(ref reader, out var value))
            throw new JsonException($"options.{member} {found} is not {kind.Noun}");
        if (kind.Refuse($"options.{member}", value) is { } refusal)
            throw new JsonException($"{refusal.What}: {refusal.Why}");
        return set(options, value);
    }

    private bool IsIn(AttachOptions options) => (!IsOfBlockDevice || options.IsBlockDevice) && kind.IsGiven(get(options));

    private void Require(T value)
    {
        if (kind.Refuse(Switch, value) is { } refusal)
            throw new OutcomeException(OutcomeKind.Invalid, refusal.What, refusal.Why, refusal.Hint);
    }
}

/// <summary>An option whose value is a word of an enum.</summary>
/// <remarks>It is text to all that an option does, so that no code is made for each enum but this.</remarks>
internal sealed class WordOption<T>(EnumWords<T> words, Func<AttachOptions, T?> get, Func<AttachOptions, T?, AttachOptions> set)
    : AttachOption<string?>(
        new WordKind(words.All), options => get(options) is { } value ? words.Of(value) : null,
        (options, word) => set(options, words.TryParse(word)))
    where T : struct, Enum;
