using System.Collections.Generic;
using System.Text.Json;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Options;

/// <summary>What is wrong with a value.</summary>
/// <param name="What">the option and its value, and that it cannot be</param>
/// <param name="Why">what is allowed</param>
/// <param name="Hint">what the user can do about it, if that is known</param>
internal readonly record struct ValueRefusal(string What, string Why, string? Hint = null);

/// <summary>What the value of an option can be, and how it is written: as text and in JSON.</summary>
/// <typeparam name="T">the value; null, or false, where the option was not given</typeparam>
internal abstract class ValueKind<T>
{
    /// <summary>Every text that is a value, for completions; empty where there are too many.</summary>
    public virtual IReadOnlyList<string> Words => [];

    /// <summary>What the value is in JSON, for messages: "a whole number".</summary>
    public abstract string Noun { get; }

    public virtual bool IsGiven(T value) => value is not null;

    /// <param name="said">the option, as the user wrote it</param>
    /// <param name="text">its value, as the user wrote it</param>
    /// <exception cref="OutcomeException">usage: it is not such a value</exception>
    public abstract T Parse(string said, string text);

    /// <summary>A value that is given again: the last one counts, but for lists.</summary>
    public virtual T Add(T before, T value) => value;

    /// <summary>The value as texts that <see cref="Parse"/> reads, one but for lists.</summary>
    public abstract IReadOnlyList<string> Print(T value);

    /// <returns>false if what the reader stands on is not such a value</returns>
    public abstract bool TryRead(ref Utf8JsonReader reader, out T value);

    public abstract void Write(Utf8JsonWriter writer, T value);

    /// <summary>A value of the right kind can still be out of range.</summary>
    /// <param name="said">the option, as the user knows it</param>
    /// <param name="value">a value that was given</param>
    /// <returns>null if it is allowed</returns>
    public virtual ValueRefusal? Refuse(string said, T value) => null;
}
