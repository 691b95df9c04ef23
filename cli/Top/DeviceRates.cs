using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Devices.Registry;

namespace Qcow2Blk.Cli.Top;

/// <summary>Looks at devices again and again, and tells what they did since the last time.</summary>
internal sealed class DeviceRates
{
    private readonly DeviceRegistry _registry = Targets.Registry();
    private readonly DevicePoll _poll;
    private readonly HashSet<string>? _names;
    private readonly Dictionary<string, DeviceCounters> _heard = [];

    /// <param name="targets">which devices; all of them, also those that come later, if there is none</param>
    internal DeviceRates(string[]? targets)
    {
        _poll = new DevicePoll(_registry);
        _names = targets is null or [] ? null : [.. Targets.Find(_registry, targets).Select(entry => entry.Record.Name)];
    }

    /// <param name="patience">how long to wait for servers that do not answer</param>
    internal IReadOnlyList<DeviceRate> Look(TimeSpan patience)
    {
        DeviceEntry[] entries = [.. _registry.List().Where(entry => _names?.Contains(entry.Record.Name) ?? true)];
        DeviceRate[] rates = [.. _poll.Ask(entries, patience).Select(DeviceCounters.Of)
            .Select(now => DeviceRate.Between(_heard.GetValueOrDefault(now.Answer.Record.Name), now))];
        var present = entries.Select(entry => entry.Record.Name).ToHashSet();
        foreach (var gone in _heard.Keys.Where(name => !present.Contains(name)).ToArray())
            _heard.Remove(gone);
        // One that is silent now is measured from when it was heard last.
        foreach (var rate in rates.Where(rate => rate.Now.IsHeard))
            _heard[rate.Now.Answer.Record.Name] = rate.Now;
        return rates;
    }
}
