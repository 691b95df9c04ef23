using System;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace Qcow2Blk.Scheduling;

/// <summary>Rules that hold whatever the guest, the image or the disk does: where one does not, this program has a bug.</summary>
/// <remarks>
/// A rule that holds costs a compare and a branch; its text is put together only when it is broken. What can be wrong in a file
/// or a request is never asked for here: that gets an errno, or an image is found to be corrupt.
/// </remarks>
internal static class Invariant
{
    /// <summary>The switch that tests turn on in their project files.</summary>
    public const string ThoroughSwitch = "Qcow2Blk.ThoroughInvariants";

    /// <summary>Whether rules are checked that cost a walk over a table or a list. False, and left out, in the native binary.</summary>
    [FeatureSwitchDefinition(ThoroughSwitch)]
    public static bool Thorough { get; } = AppContext.TryGetSwitch(ThoroughSwitch, out var isOn) && isOn;

    /// <summary>States a rule.</summary>
    /// <param name="condition">what must be true</param>
    /// <param name="rule">the rule in words, for the log</param>
    /// <exception cref="InvariantBreach">it is false</exception>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Holds([DoesNotReturnIf(false)] bool condition, string rule)
    {
        if (!condition)
            Break(rule);
    }

    /// <summary>As the other, with a value for the log.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Holds(
        [DoesNotReturnIf(false)] bool condition, string rule, long value, [CallerArgumentExpression(nameof(value))] string name = "")
    {
        if (!condition)
            Break(rule, value, name);
    }

    /// <summary>As the other, with two values for the log.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Holds(
        [DoesNotReturnIf(false)] bool condition,
        string rule,
        long first,
        long second,
        [CallerArgumentExpression(nameof(first))] string firstName = "",
        [CallerArgumentExpression(nameof(second))] string secondName = "")
    {
        if (!condition)
            Break(rule, first, firstName, second, secondName);
    }

    [DoesNotReturn]
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Break(string rule) => throw new InvariantBreach(rule);

    [DoesNotReturn]
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Break(string rule, long value, string name) => throw new InvariantBreach($"{rule} ({name} = {value})");

    [DoesNotReturn]
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Break(string rule, long first, string firstName, long second, string secondName) =>
        throw new InvariantBreach($"{rule} ({firstName} = {first}, {secondName} = {second})");
}
