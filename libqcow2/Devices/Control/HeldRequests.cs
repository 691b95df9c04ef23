using System;
using System.Threading;
using System.Threading.Channels;
using System.Threading.Tasks;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Outcomes;

namespace Qcow2Blk.Devices.Control;

/// <summary>
/// A time in which the requests of a device wait, as its client and its server see it: the client sends edits and then lets requests go
/// on, or goes itself.
/// </summary>
internal sealed class HeldRequests
{
    private readonly Channel<Asked> _asked = Channel.CreateUnbounded<Asked>();
    private readonly TaskCompletionSource _begun = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes when requests wait.</summary>
    public Task Begun => _begun.Task;

    /// <summary>Server: requests wait from now on.</summary>
    public void Begin() => _begun.TrySetResult();

    /// <summary>Server: the next edit.</summary>
    /// <returns>null if requests are to go on</returns>
    /// <exception cref="OperationCanceledException">there was none in time</exception>
    public async Task<Asked?> NextAsync(CancellationToken patience) =>
        await _asked.Reader.WaitToReadAsync(patience) && _asked.Reader.TryRead(out var asked) ? asked : null;

    /// <summary>Server: requests go on; what was asked meanwhile is not done.</summary>
    public void Over()
    {
        _asked.Writer.TryComplete();
        while (_asked.Reader.TryRead(out var asked))
            asked.Answer.TrySetResult(TooLate());
    }

    /// <summary>Client: asks for an edit while requests wait.</summary>
    public Task<Outcome> AskAsync(ImageEdit edit)
    {
        var asked = new Asked(edit, new TaskCompletionSource<Outcome>(TaskCreationOptions.RunContinuationsAsynchronously));
        return _asked.Writer.TryWrite(asked) ? asked.Answer.Task : Task.FromResult(TooLate());
    }

    /// <summary>Client: requests may go on.</summary>
    public void Release() => _asked.Writer.TryComplete();

    private static Outcome TooLate() =>
        Outcome.Refused(OutcomeKind.Failed, "cannot edit the image", "its requests go on already: they were held for too long");

    /// <param name="Edit">what to do</param>
    /// <param name="Answer">how it went</param>
    internal sealed record Asked(ImageEdit Edit, TaskCompletionSource<Outcome> Answer);
}
