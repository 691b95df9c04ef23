using System;
using System.Collections.Generic;
using System.Linq;

namespace Qcow2Blk.Devices.Options;

/// <summary>What a word with a typing mistake was meant to be.</summary>
internal static class Nearest
{
    /// <summary>As a hint: "did you mean --socket?"; null if nothing is near.</summary>
    public static string? Hint(string word, IEnumerable<string> known) => To(word, known) is { } meant ? $"did you mean {meant}?" : null;

    /// <summary>The nearest of the known words: at most a third of its letters may differ, and one in words of up to five.</summary>
    public static string? To(string word, IEnumerable<string> known)
    {
        var bare = word.AsSpan().TrimStart('-');
        string? nearest = null;
        var least = int.MaxValue;
        foreach (var candidate in known.Order(StringComparer.Ordinal))
        {
            var letters = candidate.AsSpan().TrimStart('-');
            var distance = Distance(bare, letters);
            if (distance < least && distance <= Math.Max(1, Math.Min(bare.Length, letters.Length) / 3) && distance < letters.Length)
                (nearest, least) = (candidate, distance);
        }

        return nearest;
    }

    /// <summary>Letters to put in, leave out, replace or swap with their neighbour (optimal string alignment).</summary>
    public static int Distance(ReadOnlySpan<char> from, ReadOnlySpan<char> to)
    {
        // Nothing that is so much longer is near: a hostile word costs nothing.
        const int maxLength = 64;
        if (from.Length > maxLength || to.Length > maxLength)
            return int.MaxValue;
        var distances = new int[from.Length + 1, to.Length + 1];
        for (var i = 0; i <= from.Length; i++)
            distances[i, 0] = i;
        for (var j = 0; j <= to.Length; j++)
            distances[0, j] = j;
        for (var i = 1; i <= from.Length; i++)
        {
            for (var j = 1; j <= to.Length; j++)
            {
                var replaced = distances[i - 1, j - 1] + (from[i - 1] == to[j - 1] ? 0 : 1);
                distances[i, j] = Math.Min(replaced, Math.Min(distances[i - 1, j], distances[i, j - 1]) + 1);
                if (i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1])
                    distances[i, j] = Math.Min(distances[i, j], distances[i - 2, j - 2] + 1);
            }
        }

        return distances[from.Length, to.Length];
    }
}
