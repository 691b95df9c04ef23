using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Every example in a help text works as it stands there. One that this test does not know fails it.</summary>
public sealed class HelpExampleTests : IDisposable
{
    private static readonly string[] s_verbs =
        ["", "attach", "detach", "suspend", "resume", "set", "upgrade", "list", "status", "top", "trace", "metrics", "doctor",
            "cleanup", "check", "cache", "create", "info", "map", "manifest", "bitmap", "snapshot", "checkpoint", "resize", "completion"];

    /// <summary>What has to be there before an example can be run, as shell commands.</summary>
    private static readonly Dictionary<string, string> s_before = new()
    {
        ["qcow2blk attach disk.qcow2 --socket /run/disk.sock"] = "",
        ["qcow2blk attach disk.qcow2 --listen 127.0.0.1:10809 --read-only --name backup"] = "",
        ["qcow2blk attach disk.qcow2 --run 'nbdinfo \"$uri\"'"] = "",
        ["nbdinfo [ qcow2blk attach disk.qcow2 ]"] = "",
        ["qcow2blk detach disk"] = Attached,
        ["qcow2blk detach /data/disk.qcow2 --timeout 120"] = Attached,
        ["qcow2blk detach disk --force"] = Attached,
        ["qcow2blk suspend disk"] = Attached,
        ["qcow2blk suspend disk && qemu-img snapshot -c before disk.qcow2; qcow2blk resume disk"] = Attached,
        ["qcow2blk resume disk"] = $"{Attached}; qcow2blk suspend disk",
        ["qcow2blk resume disk --allow-shrink"] = $"{Attached}; qcow2blk suspend disk; qemu-img resize -q --shrink disk.qcow2 32M",
        ["qcow2blk set disk --iops 2000 --bandwidth 100M"] = Attached,
        ["qcow2blk set disk --write-bandwidth 20M --burst 5"] = Attached,
        ["qcow2blk set disk --iops 0 --bandwidth 0"] = Attached,
        ["qcow2blk trace disk --seconds 2"] = Attached,
        ["qcow2blk trace disk --seconds 2 --slower-than 10"] = Attached,
        ["qcow2blk trace disk --count 1000 --seconds 2 --json | jq -s 'group_by(.way)|map({(.[0].way):length})|add'"] =
        $"{Attached}; (sleep 1; qemu-io -r -f raw -c 'read 0 4k' 'nbd+unix:///?socket=/run/disk.sock' >/dev/null) 2>/dev/null >&2 &",
        ["qcow2blk status disk --watch"] = Attached,
        ["qcow2blk top"] = Attached,
        ["qcow2blk top --sort writes disk other"] =
        $"{Attached}; qemu-img create -q -f qcow2 other.qcow2 1M; qcow2blk attach other.qcow2 --socket /run/other.sock >/dev/null",
        ["qcow2blk top --batch -n 3 --interval 0.5"] = Attached,
        ["qcow2blk top --json -n 1 | jq '.devices[0][\"p99-ns\"]'"] =
        $"{Attached}; qemu-io -r -f raw -c 'read 0 4k' 'nbd+unix:///?socket=/run/disk.sock' >/dev/null",
        ["qcow2blk metrics"] = Attached,
        ["qcow2blk metrics --output /var/lib/prometheus/node-exporter/qcow2blk.prom"] = Attached,
        ["qcow2blk doctor"] = "",
        ["qcow2blk doctor --json | jq '.findings[] | select(.verdict != \"ok\")'"] = "",
        ["qcow2blk list"] = Attached,
        ["qcow2blk list --json | jq -r '.[].name'"] = Attached,
        ["qcow2blk status disk"] = Attached,
        ["qcow2blk status disk --json | jq .requests.reads"] =
        $"{Attached}; qemu-io -r -f raw -c 'read 0 4k' 'nbd+unix:///?socket=/run/disk.sock' >/dev/null",
        ["qcow2blk create new.qcow2 10G"] = "",
        ["qcow2blk create overlay.qcow2 --backing disk.qcow2 --backing-format qcow2"] = "",
        ["qcow2blk create -o cluster_size=2M,preallocation=metadata fast.qcow2 100G"] = "",
        ["qcow2blk info disk.qcow2"] = "",
        ["qcow2blk info disk.qcow2 --json | jq -r '.chain[].filename'"] = "",
        ["qcow2blk map disk.qcow2"] = "",
        ["qcow2blk map disk.qcow2 --json | jq 'map(select(.data).length) | add'"] = "",
        ["qcow2blk cache list"] = "",
        ["qcow2blk cache list --json | jq '.[] | {name, \"stored-bytes\"}'"] = "",
        ["qcow2blk cache verify"] = "",
        ["qcow2blk cache prune --older-than 7d"] = "",
        ["qcow2blk cache prune --size 10G"] = "",
        ["qcow2blk manifest disk.qcow2"] = "",
        ["qcow2blk manifest disk.qcow2 --output v1.qcm --chunk-size 1M"] = "",
        ["qcow2blk manifest disk.qcow2 --json | jq -r .root"] = "",
        ["qcow2blk bitmap add disk monday"] = Attached,
        ["qcow2blk bitmap add disk.qcow2 monday --granularity 64K --disabled"] = "",
        ["qcow2blk bitmap merge disk week --from monday"] =
        $"{Attached}; qcow2blk bitmap add disk monday; qcow2blk bitmap add disk week",
        ["qcow2blk bitmap list disk --json"] = $"{Attached}; qcow2blk bitmap add disk monday",
        ["qcow2blk bitmap remove disk monday"] = $"{Attached}; qcow2blk bitmap add disk monday",
        ["qcow2blk check disk.qcow2"] = "",
        ["qcow2blk check disk.qcow2 --repair leaks"] = "",
        ["qcow2blk check disk.qcow2 --json | jq '.[\"check-errors\"]'"] = "",
        ["qcow2blk snapshot create disk before-upgrade"] = Attached,
        ["qcow2blk snapshot list disk.qcow2"] = "",
        ["qcow2blk snapshot revert disk.qcow2 before-upgrade"] = "qemu-img snapshot -c before-upgrade disk.qcow2",
        ["qcow2blk snapshot delete disk before-upgrade"] = $"qemu-img snapshot -c before-upgrade disk.qcow2; {Attached}",
        ["qcow2blk checkpoint create monday disk"] = Attached,
        ["qcow2blk checkpoint list disk"] = $"{Attached}; qcow2blk checkpoint create monday disk",
        ["qcow2blk checkpoint delete monday disk"] = $"{Attached}; qcow2blk checkpoint create monday disk",
        ["qcow2blk resize disk +10G"] = Attached,
        ["qcow2blk resize disk.qcow2 200M"] = "",
        ["qcow2blk resize disk.qcow2 -1M --shrink"] = "",
        ["source <(qcow2blk completion bash)"] = "",
        ["qcow2blk completion fish > ~/.config/fish/completions/qcow2blk.fish"] = "mkdir -p ~/.config/fish/completions",
    };

    /// <summary>Those that say nothing when they work.</summary>
    private static readonly string[] s_silent =
        ["detach", "suspend", "resume", "qcow2blk set", "bitmap add", "bitmap merge", "bitmap remove", "snapshot create", "snapshot revert",
            "snapshot delete", "checkpoint create", "checkpoint delete", "qcow2blk resize", "source", "completion fish", "qcow2blk create",
            "metrics --output", "top --json", "doctor --json", "cache list", "cache verify"];

    /// <summary>Those that a person looks at until they press q.</summary>
    private static readonly string[] s_live =
        ["qcow2blk status disk --watch", "qcow2blk top", "qcow2blk top --sort writes disk other"];

    private const string Attached = "qcow2blk attach disk.qcow2 --socket /run/disk.sock >/dev/null";
    private const string NeedsBlockDevices = "tests/kernel/cases/98-examples.sh";

    private readonly Folder _folder = new();

    public void Dispose() => _folder.Dispose();

    public static TheoryData<string> Examples() => [.. s_verbs.SelectMany(ExamplesOf).Distinct()];

    [Theory]
    [MemberData(nameof(Examples))]
    public void Example_works_as_it_stands_in_the_help(string example)
    {
        if (!s_before.TryGetValue(example, out var before))
        {
            // Block devices are in the virtual machine: there each has a line of its own.
            var lines = Checkout.Read(NeedsBlockDevices);
            Assert.True(lines.Split('\n').Contains(example), $"nobody knows how to run this example: {example}");
            return;
        }

        Prepare();
        Shell($"{before}\n").Passed();
        var outcome = Shell(AsRun(example)).Passed();
        Shell("qcow2blk detach disk; qcow2blk detach backup; qcow2blk detach other");
        if (s_silent.Any(words => example.Contains(words, StringComparison.Ordinal)))
            return;
        Assert.False(string.IsNullOrWhiteSpace(outcome.Output) || outcome.Output is "null\n" or "[]\n",
            $"{example} printed \"{outcome.Output}\"");
    }

    [Fact]
    public void Every_example_that_a_test_runs_stands_in_a_help_text() =>
        Assert.Empty(s_before.Keys.Except(s_verbs.SelectMany(ExamplesOf)));

    /// <summary>How the example is run: on a terminal, or where it may find that something is missing.</summary>
    private static string AsRun(string example) => s_live.Contains(example) ? $"(sleep 2; printf q) | script -qec '{example}' /dev/null"
        : example.Contains("doctor", StringComparison.Ordinal) ? $"{example} || [ $? = 1 ]"
        : example;

    private static IEnumerable<string> ExamplesOf(string verb)
    {
        string[] words = verb.Length == 0 ? ["--help"] : [verb, "--help"];
        var help = Run.Program(Command.Path, words).Passed().Output;
        return help[help.IndexOf("Examples:", StringComparison.Ordinal)..].Split('\n').Skip(1).Select(line => line.Trim())
            .Where(line => line.Length > 0);
    }

    private void Prepare()
    {
        _folder.Image("disk.qcow2", "64M");
        Run.QemuIo(_folder.File("disk.qcow2"), "write -P 7 0 1M");
        Directory.CreateSymbolicLink(Path.Combine(_folder.Sub("bin"), "qcow2blk"), Command.Path);
    }

    /// <summary>A user's shell in the folder of the image; what the examples name elsewhere is there, too.</summary>
    private Outcome Shell(string script)
    {
        var folder = _folder.File(".");
        var here = script.Replace("/run/", $"{folder}/", StringComparison.Ordinal).Replace("/data/", $"{folder}/", StringComparison.Ordinal)
            .Replace(":10809", ":0", StringComparison.Ordinal)
            .Replace("/var/lib/prometheus/node-exporter/", $"{folder}/", StringComparison.Ordinal);
        var environment = Command.Environment(_folder);
        environment["PATH"] = $"{_folder.File("bin")}:{Environment.GetEnvironmentVariable("PATH")}";
        environment["HOME"] = folder;
        return Run.Start(environment, "bash", "-c", $"set -o pipefail; cd '{folder}' || exit 99\n{here}").Wait();
    }
}
