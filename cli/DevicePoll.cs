using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.Linq;
using System.Text.Json;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;

namespace Qcow2Blk.Cli;

/// <summary>What a device said of itself, or what others see of it.</summary>
/// <param name="Record">its state file</param>
/// <param name="Status">a "status" object (docs/json.md); that of a server that did not answer has only the members of list</param>
/// <param name="At">when the answer came, by <see cref="Stopwatch"/></param>
/// <param name="Refusal">why there is no more; null if the server answered, or if there is none that could</param>
internal sealed record DeviceAnswer(DeviceRecord Record, ReadOnlyMemory<byte> Status, long At, OutcomeException? Refusal);

/// <summary>
/// Asks many servers for their status at once. One that does not answer in time is silent: it costs the others nothing, and is not
/// asked again before that question has ended.
/// </summary>
internal sealed class DevicePoll(DeviceRegistry registry)
{
    /// <summary>What a server may take where a user waits for a single answer.</summary>
    internal static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly Dictionary<(string Name, int Pid, DateTimeOffset Started), Task<DeviceAnswer>> _questions = [];

    /// <summary>Asks all of them.</summary>
    /// <param name="entries">which</param>
    /// <param name="patience">how long to wait for all answers together</param>
    /// <returns>an answer for each, in the same order</returns>
    internal IReadOnlyList<DeviceAnswer> Ask(IReadOnlyList<DeviceEntry> entries, TimeSpan patience)
    {
        Task<DeviceAnswer>[] asked = [.. entries.Select(QuestionTo)];
        // Not Task.WaitAll: none of them fails, and a question that is not answered stays.
        _ = Task.WhenAll(asked).Wait(patience);
        return [.. entries.Zip(asked, (entry, question) => question.IsCompleted ? Take(entry, question) : Silent(entry.Record, null))];
    }

    private Task<DeviceAnswer> QuestionTo(DeviceEntry entry)
    {
        var key = KeyOf(entry);
        if (!_questions.TryGetValue(key, out var question))
        {
            // With a thread of its own: a server that hangs would keep one of the few of the pool.
            _questions[key] = question = Task.Factory.StartNew(() => Question(entry), default, TaskCreationOptions.LongRunning,
                TaskScheduler.Default);
        }

        return question;
    }

    private DeviceAnswer Take(DeviceEntry entry, Task<DeviceAnswer> question)
    {
        _questions.Remove(KeyOf(entry));
        return question.Result;
    }

    private static (string Name, int Pid, DateTimeOffset Started) KeyOf(DeviceEntry entry) =>
        (entry.Record.Name, entry.Record.Pid, entry.Record.Started);

    private DeviceAnswer Question(DeviceEntry entry)
    {
        var record = entry.Record;
        try
        {
            if (!entry.Alive)
                return Without(record, entry.IsRecovering ? LiveState.Recovering : LiveState.Dead, null);
            using var client = ControlClient.TryConnect(registry.Directory, record.Name);
            if (client is null)
                return Without(record, LiveState.WithoutSocket(entry), null);
            var reply = client.Ask(new ControlRequest(ControlVerb.Status, TimeSpan.Zero, Force: false, AllowShrink: false));
            var result = reply.Result;
            return result.Succeeded && !reply.Status.IsEmpty
                ? new DeviceAnswer(record, reply.Status, Stopwatch.GetTimestamp(), null)
                : Silent(record, new OutcomeException(result.Succeeded ? OutcomeKind.Failed : result.Kind, result.What
                    ?? $"no status of {record.Name}", result.Why ?? "the server sent none", result.Hint));
        }
        catch (OutcomeException error)
        {
            return Silent(record, error);
        }
    }

    private static DeviceAnswer Silent(DeviceRecord record, OutcomeException? why) => Without(record, LiveState.Silent,
        why ?? new OutcomeException(OutcomeKind.Failed, $"no status of {record.Name}", "its server did not answer in time"));

    private static DeviceAnswer Without(DeviceRecord record, string state, OutcomeException? why)
    {
        var buffer = new System.Buffers.ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            ListVerb.WriteMembers(writer, record, state);
            writer.WriteEndObject();
        }

        return new DeviceAnswer(record, buffer.WrittenMemory, Stopwatch.GetTimestamp(), why);
    }
}
