using System.Collections.Generic;
using System.CommandLine;
using System.Linq;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;

namespace Qcow2Blk.Cli;

/// <summary>TARGET arguments: a device by name, device path, image path or URI.</summary>
internal static class Targets
{
    private const string Description = "a device: its name, device path, image or URI";

    internal static Argument<string[]> Several()
    {
        var argument = new Argument<string[]>("TARGET") { Description = Description, Arity = ArgumentArity.OneOrMore };
        argument.CompletionSources.Add(_ => Names().Select(name => new System.CommandLine.Completions.CompletionItem(name)));
        return argument;
    }

    internal static Argument<string[]> Any()
    {
        var argument = new Argument<string[]>("TARGET") { Description = Description + " [default: all]", Arity = ArgumentArity.ZeroOrMore };
        argument.CompletionSources.Add(_ => Names().Select(name => new System.CommandLine.Completions.CompletionItem(name)));
        return argument;
    }

    /// <summary>The devices that are meant; all of them where none is named.</summary>
    /// <exception cref="OutcomeException">no device answers to one of them</exception>
    internal static IReadOnlyList<DeviceEntry> Find(DeviceRegistry registry, string[]? targets) =>
        targets is null or [] ? registry.List() : [.. targets.Select(registry.Resolve).DistinctBy(entry => entry.Record.Name)];

    internal static Argument<string> One()
    {
        var argument = new Argument<string>("TARGET") { Description = Description };
        argument.CompletionSources.Add(_ => Names().Select(name => new System.CommandLine.Completions.CompletionItem(name)));
        return argument;
    }

    internal static Argument<string?> Optional()
    {
        var argument = new Argument<string?>("TARGET") { Description = Description + " [default: all]", Arity = ArgumentArity.ZeroOrOne };
        argument.CompletionSources.Add(_ => Names().Select(name => new System.CommandLine.Completions.CompletionItem(name)));
        return argument;
    }

    internal static DeviceRegistry Registry() => new(RuntimeDirectory.Locate());

    private static IEnumerable<string> Names()
    {
        try
        {
            return Registry().List().Select(entry => entry.Record.Name);
        }
        catch (OutcomeException)
        {
            return [];
        }
    }
}
