using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;

namespace Qcow2Blk.Tests.Tidy;

/// <summary>A name in one room that means something declared in another, by the compiler's own model.</summary>
/// <param name="From">the room that the name stands in</param>
/// <param name="To">the room of what it means</param>
/// <param name="Place">file and line</param>
/// <param name="Name">the type that is named</param>
internal sealed record Reference(string From, string To, string Place, string Name)
{
    /// <summary>Every reference between rooms of the library and the command.</summary>
    public static IReadOnlyList<Reference> All() =>
        All(SourceTree.Shipped(), SourceTree.Read);

    /// <summary>As above, of files that need not exist.</summary>
    public static IReadOnlyList<Reference> All(IReadOnlyList<string> files, Func<string, string> read)
    {
        var compilation = Compile(files, read);
        return [.. compilation.SyntaxTrees.SelectMany(tree => In(tree, compilation.GetSemanticModel(tree)))];
    }

    /// <summary>The files of which another file of the product names something.</summary>
    public static IEnumerable<string> Uses()
    {
        var compilation = Compile(SourceTree.Shipped(), SourceTree.Read);
        foreach (var tree in compilation.SyntaxTrees)
        {
            var model = compilation.GetSemanticModel(tree);
            foreach (var name in tree.GetRoot().DescendantNodes().OfType<SimpleNameSyntax>())
            {
                // Of a type in several files, each is used.
                foreach (var declared in TypeOf(name, model)?.DeclaringSyntaxReferences ?? [])
                {
                    if (declared.SyntaxTree != tree)
                        yield return declared.SyntaxTree.FilePath;
                }
            }
        }
    }

    private static CSharpCompilation Compile(IReadOnlyList<string> files, Func<string, string> read)
    {
        var options = CSharpParseOptions.Default.WithLanguageVersion(LanguageVersion.Preview);
        var trees = files.Select(file => CSharpSyntaxTree.ParseText(read(file), options, file)).ToArray();
        var platform = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(path => !Path.GetFileName(path).StartsWith("Qcow2Blk", StringComparison.Ordinal))
            .Select(path => MetadataReference.CreateFromFile(path));
        return CSharpCompilation.Create("rooms", trees, platform,
            new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, allowUnsafe: true));
    }

    /// <summary>The type that a name means, or whose member it means; null for what the product does not declare.</summary>
    private static INamedTypeSymbol? TypeOf(SimpleNameSyntax name, SemanticModel model)
    {
        var symbol = model.GetSymbolInfo(name).Symbol;
        var type = symbol as INamedTypeSymbol ?? symbol?.ContainingType;
        return type is { IsTupleType: false, DeclaringSyntaxReferences.Length: > 0 } ? type : null;
    }

    private static IEnumerable<Reference> In(SyntaxTree tree, SemanticModel model)
    {
        if (Rooms.Of(tree.FilePath) is not { } from)
            yield break;
        foreach (var name in tree.GetRoot().DescendantNodes().OfType<SimpleNameSyntax>())
        {
            if (TypeOf(name, model) is not { } type || Rooms.Of(type.DeclaringSyntaxReferences[0].SyntaxTree.FilePath) is not { } to
                || to == from)
            {
                continue;
            }

            var line = name.GetLocation().GetLineSpan().StartLinePosition.Line + 1;
            yield return new Reference(from, to, $"{tree.FilePath}:{line}", type.Name);
        }
    }
}
