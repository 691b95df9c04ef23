using System;
using System.Collections.Generic;
using System.Linq;

namespace Qcow2Blk.Tests.Interop.Matrix;

/// <summary>
/// The cases of the matrix: every pair of values that can be together is in one of them, and the rest is random, the same in every run.
/// </summary>
internal static class ImageCases
{
    /// <summary>How many of the first cases, which have the most pairs, a usual run has.</summary>
    public const int SampleSize = 12;

    private const int Seed = 20261129;
    private const int Wanted = 320;
    private const int Candidates = 40;

    private static readonly Lazy<List<ImageCase>> s_all = new(Generate);

    public static IReadOnlyList<ImageCase> All => s_all.Value;

    /// <summary>Every pair of values in a case: dimension and value, twice.</summary>
    public static IEnumerable<(int, int, int, int)> Pairs(ImageCase image)
    {
        for (var a = 0; a < image.Values.Count; a++)
        {
            for (var b = 0; b < a; b++)
                yield return (a, image.Values[a], b, image.Values[b]);
        }
    }

    private static List<ImageCase> Generate()
    {
        var random = new Random(Seed);
        var covered = new HashSet<(int, int, int, int)>();
        var names = new HashSet<string>();
        var cases = new List<ImageCase>();
        while (cases.Count < Wanted)
        {
            var best = Enumerable.Range(0, Candidates).Select(_ => Any(random))
                .MaxBy(candidate => names.Contains(candidate.Name) ? -1 : Pairs(candidate).Count(pair => !covered.Contains(pair)))!;
            if (!names.Add(best.Name))
                continue;
            covered.UnionWith(Pairs(best));
            cases.Add(best);
        }

        return cases;
    }

    public static ImageCase Any(Random random)
    {
        while (true)
        {
            var candidate = new ImageCase([.. ImageCase.Dimensions.Select(dimension => random.Next(dimension.Values.Length))]);
            if (candidate.IsPossible)
                return candidate;
        }
    }
}
