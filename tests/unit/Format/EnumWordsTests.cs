using System;
using System.Collections.Generic;
using System.Linq;
using System.Reflection;
using System.Text.RegularExpressions;
using Qcow2Blk.Format;
using Xunit;

namespace Qcow2Blk.Tests.Format;

/// <summary>Every enum of the library that has words has one for each value, and is read back from it.</summary>
public sealed partial class EnumWordsTests
{
    /// <summary>Every table of words in the library, by the class that holds it.</summary>
    public static TheoryData<string> Tables() => [.. Found().Keys];

    [Theory]
    [MemberData(nameof(Tables))]
    public void Every_value_has_the_word_that_is_its_name(string table) =>
        s_check.MakeGenericMethod(Found()[table].GetType().GenericTypeArguments).Invoke(null, [Found()[table]]);

    [Fact]
    public void No_enum_has_two_tables() =>
        Assert.Equal([], Found().Values.GroupBy(words => words.GetType()).Where(group => group.Count() > 1)
            .Select(group => $"{group.Key}"));

    [Fact]
    public void Nothing_else_is_a_word()
    {
        Assert.Null(ImageFormats.Words.TryParse("vmdk"));
        Assert.Null(ImageFormats.Words.TryParse("QCOW2"));
        Assert.Null(ImageFormats.Words.TryParse(null));
        Assert.Equal("\"vmdk\" is not one of qcow2, raw", Assert.Throws<FormatException>(() => ImageFormats.Words.Parse("vmdk")).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => ImageFormats.Words.Of((ImageFormat)7));
    }

    private static readonly MethodInfo s_check =
        typeof(EnumWordsTests).GetMethod(nameof(Check), BindingFlags.NonPublic | BindingFlags.Static)!;

    private static void Check<T>(EnumWords<T> words)
        where T : struct, Enum
    {
        Assert.Equal(Enum.GetValues<T>().Select(value => Dashed().Replace($"{value}", "-").ToLowerInvariant()), words.All);
        foreach (var value in Enum.GetValues<T>())
        {
            Assert.Equal(value, words.TryParse(words.Of(value)));
            Assert.Equal(value, words.Parse(words.Of(value)));
        }
    }

    private static SortedDictionary<string, object> Found() => new(typeof(EnumWords<>).Assembly.GetTypes()
        .SelectMany(type => type.GetProperties(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static))
        .Where(property => property.PropertyType is { IsGenericType: true } type && type.GetGenericTypeDefinition() == typeof(EnumWords<>))
        .ToDictionary(
            property => $"{property.DeclaringType!.Name}.{property.Name}",
            property => property.GetValue(null)!), StringComparer.Ordinal);

    /// <summary>Between words of a name in Pascal case: Zero|Copy.</summary>
    [GeneratedRegex("(?<=[a-z])(?=[A-Z])")]
    private static partial Regex Dashed();
}
