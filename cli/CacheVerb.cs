using System;
using System.Collections.Generic;
using System.CommandLine;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Text.Json;
using System.Threading;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Logging;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Cache;

namespace Qcow2Blk.Cli;

/// <summary><c>qcow2blk cache ACTION [NAME...]</c>.</summary>
internal sealed class CacheVerb : Verb
{
    private static readonly string[] s_actions = ["list", "verify", "prune", "prefetch"];

    // Others make room in seconds.
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);

    private readonly Argument<string> _action = new("ACTION") { Description = "list, verify, prune or prefetch" };

    private readonly Argument<string[]> _names = new("NAME")
    {
        Description = "URLs or ids of bases [default: all; prune needs a NAME or an option, prefetch one URL]",
        Arity = ArgumentArity.ZeroOrMore,
    };

    /// <summary>How a base is read and kept, as attach has it.</summary>
    private readonly TableOptions _remote = new("cache-dir", "cache-limit", "chunk-size", "trace", "mirror", "sha256", "manifest",
        "source-timeout", "credentials", "credential-command", "url-command", "s3-endpoint", "s3-region", "ca-file", "insecure",
            "unverified");

    private readonly Option<string> _size = Text("--size", "SIZE", "prune: remove until all bases together take no more");
    private readonly Option<bool> _all = Flag("--all", "prune: remove everything");

    private readonly Option<string> _olderThan =
        Text("--older-than", "TIME", "prune: remove what was not used for so long, such as 90m, 12h or 7d");

    private readonly Option<bool> _json = JsonFlag();

    public CacheVerb()
        : base("cache", "list, verify, remove and fetch ahead what is kept of bases in stores",
            "qcow2blk cache list",
            "qcow2blk cache list --json | jq '.[] | {name, \"stored-bytes\"}'",
            "qcow2blk cache verify",
            "qcow2blk cache prune --older-than 7d",
            "qcow2blk cache prune --size 10G")
    {
        _action.CompletionSources.Add(s_actions);
        Arguments.Add(_action);
        Arguments.Add(_names);
        foreach (var option in (Option[])[_size, _all, _olderThan, .. _remote.All, _json])
            Options.Add(option);
        Does(Run);
    }

    private ExitCode Run(ParseResult parsed)
    {
        var action = parsed.GetValue(_action)!;
        if (!s_actions.Contains(action))
        {
            throw new OutcomeException(OutcomeKind.Invalid, $"bad action \"{action}\"", $"it is not one of {string.Join(", ", s_actions)}",
                Nearest.Hint(action, s_actions));
        }

        RefuseMisplaced(parsed, action);
        var options = _remote.Read(parsed);
        if (action == "prefetch")
            return Prefetch(parsed.GetValue(_names)![0], options);
        var path = RemoteOptions.Resolve(options).CacheDirectory
            ?? throw new OutcomeException(OutcomeKind.Invalid, $"cannot {action} a cache", "there is none", "see --cache-dir");
        var settings = new CacheSettings(path);
        var bases = Choose(CacheContents.List(path, settings.Now), path, parsed.GetValue(_names));
        return action switch
        {
            "list" => List(bases, parsed.GetValue(_json)),
            "verify" => Verify(path, bases, parsed.GetValue(_json)),
            _ => Prune(parsed, settings, bases),
        };
    }

    /// <exception cref="OutcomeException">an option that the action has no use for, or one that it needs is missing</exception>
    private void RefuseMisplaced(ParseResult parsed, string action)
    {
        var isNamed = parsed.GetValue(_names) is { Length: > 0 };
        bool[] said = [parsed.GetValue(_size) is not null, parsed.GetValue(_all), parsed.GetValue(_olderThan) is not null];
        var ways = said.Count(way => way);
        Require(action == "prune" || ways == 0, "--size, --all and --older-than are for prune");
        Require(action is "list" or "verify" || !parsed.GetValue(_json), "--json is for list and verify");
        Require(action != "prune" || ways + (isNamed ? 1 : 0) > 0, "prune needs a NAME, --size, --all or --older-than");
        Require(action != "prefetch" || parsed.GetValue(_names) is [_], "prefetch takes one URL");
        Require(action == "prefetch" || _remote.Given(parsed).All(option => option.Name == "cache-dir"),
            $"{_remote.Given(parsed).FirstOrDefault(option => option.Name != "cache-dir")?.Switch} is for prefetch");
        Require(ways <= 1, "--size, --all and --older-than cannot be used together");
        Require(!isNamed || !parsed.GetValue(_all), "--all takes no NAME");
    }

    private static void Require(bool holds, string why)
    {
        if (!holds)
            throw new OutcomeException(OutcomeKind.Invalid, "bad cache command line", why, "see \"qcow2blk cache --help\"");
    }

    private static IReadOnlyList<CachedBase> Choose(IReadOnlyList<CachedBase> all, string path, string[]? names)
    {
        if (names is not { Length: > 0 })
            return all;
        var chosen = new List<CachedBase>();
        foreach (var name in names)
        {
            var found = CacheContents.Find(all, name);
            if (found.Count == 0)
            {
                throw new OutcomeException(
                    OutcomeKind.NotFound, $"no base \"{name}\"", $"the cache {path} has none of that URL or id",
                        "see \"qcow2blk cache list\"");
            }

            chosen.AddRange(found.Except(chosen));
        }

        return chosen;
    }

    private static ExitCode List(IReadOnlyList<CachedBase> bases, bool asJson)
    {
        if (asJson)
        {
            Output.Json(writer =>
            {
                writer.WriteStartArray();
                foreach (var known in bases)
                {
                    writer.WriteStartObject();
                    CacheReport.Write(writer, known);
                    writer.WriteEndObject();
                }

                writer.WriteEndArray();
            });
        }
        else if (bases.Count > 0)
        {
            Output.Write(CacheReport.TableOf(bases, DateTimeOffset.UtcNow));
        }

        return ExitCode.Done;
    }

    private static ExitCode Verify(string path, IReadOnlyList<CachedBase> bases, bool asJson)
    {
        var verdicts = new List<CacheVerdict>();
        foreach (var known in bases)
        {
            var verdict = Verify(path, known);
            verdicts.Add(verdict);
            if (!asJson)
                Output.Line(CacheReport.TextOf(verdict));
        }

        if (asJson)
            Output.Json(writer => CacheReport.Write(writer, verdicts));
        return verdicts.All(verdict => verdict.IsSound) ? ExitCode.Done : ExitCode.Failed;
    }

    private static CacheVerdict Verify(string path, CachedBase known)
    {
        using var bar = ProgressBar.For(CacheReport.NameOf(known));
        return CacheContents.Verify(path, known, Progress(bar, "verify"));
    }

    private static ExitCode Prefetch(string url, AttachOptions options)
    {
        // What tells it from others, and nothing secret: a query may be a signature, but is the address of a unix socket.
        var name = RemoteLocation.Parse(url, out var location) is null ? location!.Name : url.Split('?')[0];
        PrefetchReport report;
        using (var bar = ProgressBar.For(name))
            report = BasePrefetch.Run(url, options, new StderrLog(LogLevel.Warning), Progress(bar, "prefetch"));
        Output.Line($"{name}: {Quantity.Bytes(report.StoredBytes)} of {Quantity.Bytes(report.Length)} in the cache");
        if (report.Missing == 0)
            return ExitCode.Done;
        Output.Error($"cannot prefetch {name}", string.Create(CultureInfo.InvariantCulture,
            $"the cache does not keep {report.Missing} of {report.Wanted} chunks"), "a larger --cache-limit, or another --cache-dir, may");
        return ExitCode.Failed;
    }

    /// <summary>A bar is drawn ten times a second, however fast chunks are.</summary>
    private static Action<double>? Progress(ProgressBar? bar, string what)
    {
        const int interval = 100;
        var shown = Environment.TickCount64;
        return bar is null ? null : part =>
        {
            if (Environment.TickCount64 - shown < interval)
                return;
            shown = Environment.TickCount64;
            bar.Show(what, part);
        };
    }

    private ExitCode Prune(ParseResult parsed, CacheSettings settings, IReadOnlyList<CachedBase> bases)
    {
        var target = parsed.GetValue(_size) is { } size ? new SizeKind(0, long.MaxValue, "0 or more").Parse("--size", size)!.Value : -1;
        var age = parsed.GetValue(_olderThan) is { } text ? Duration.Parse("--older-than", text) : TimeSpan.Zero;
        var only = parsed.GetValue(_names) is { Length: > 0 } ? bases.Select(known => known.Id).ToHashSet() : null;
        var until = DateTime.UtcNow + s_patience;
        while (true)
        {
            using var maker = new RoomMaker(settings) { Target = target, UsedBefore = settings.Now - (long)age.TotalSeconds, Only = only };
            int result;
            do
                result = maker.Execute();
            while (result == 1);
            if (result < 0)
                throw new IOException(maker.Why);
            if (!maker.IsOutrun)
                return Report(maker);
            if (DateTime.UtcNow > until)
            {
                throw new OutcomeException(
                    OutcomeKind.Busy, $"cannot prune {settings.Directory}", "another process is making room in it", "try again later");
            }

            Thread.Sleep(50);
        }
    }

    private static ExitCode Report(RoomMaker maker)
    {
        Output.Line(string.Create(CultureInfo.InvariantCulture,
            $"{Quantity.Bytes(maker.Freed)} freed, {maker.Removed} {(maker.Removed == 1 ? "base" : "bases")} removed"));
        return ExitCode.Done;
    }
}
