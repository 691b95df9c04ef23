using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Server;

/// <summary>Options that change while the device is attached. The state file keeps them: the next server has them, too.</summary>
internal sealed partial class DeviceServer
{
    /// <summary>Changes all of them, or none if one of them cannot be.</summary>
    private Task<Outcome> SetAsync(IReadOnlyDictionary<string, string>? changes, TimeSpan timeout)
    {
        var what = $"cannot set options of {Record.Name}";
        return _turns.RunAsync(what, timeout, _ => Task.FromResult(Set(what, changes ?? new Dictionary<string, string>())));
    }

    private Outcome Set(string what, IReadOnlyDictionary<string, string> changes)
    {
        try
        {
            lock (_records)
            {
                if (_detached || HandedOver)
                    return Outcome.Refused(OutcomeKind.Busy, what, "it is already ending");
                var options = changes.Aggregate(Record.Options, (before, change) => Changed(before, change.Key, change.Value));
                _device.Apply(options);
                Record = Record with { Options = options };
                Publish();
                return Outcome.Done();
            }
        }
        catch (OutcomeException refusal)
        {
            return Outcome.Refused(refusal.Kind, what, $"{refusal.What}: {refusal.Why}", refusal.Hint);
        }
    }

    private static AttachOptions Changed(AttachOptions options, string name, string text)
    {
        var option = AttachOptionTable.Settable(name);
        var changed = option.Set(options, text);
        option.Check(changed);
        return changed;
    }
}
