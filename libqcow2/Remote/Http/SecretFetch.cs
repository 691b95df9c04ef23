using System;
using System.Threading;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Http;

/// <summary>Gets a secret on a thread of its own, as that may take long, and comes back to the loop that asked.</summary>
internal sealed class SecretFetch
{
    private readonly LoopScheduler _loop = LoopScheduler.Current;
    private readonly ManualSource<int> _done = ManualSource<int>.Rent();
    private readonly Func<SecretFetch, string?> _work;
    private volatile bool _isUnwanted;

    private SecretFetch(Func<SecretFetch, string?> work) => _work = work;

    /// <summary>The secret; null if there is none.</summary>
    public string? Output { get; set; }

    /// <summary>Why there is none, as the rest of a sentence; null if there is one.</summary>
    public string? Failure { get; private set; }

    /// <summary>Whether nobody waits for it any more. Any thread.</summary>
    public bool IsUnwanted => _isUnwanted;

    /// <summary>Starts it; the task ends on this loop.</summary>
    /// <param name="work">sets <see cref="Output"/>, or returns why it cannot</param>
    /// <param name="fetch">what was started</param>
    public static LoopTask<int> RunAsync(Func<SecretFetch, string?> work, out SecretFetch fetch)
    {
        fetch = new SecretFetch(work);
        var task = fetch._done.Task;
        new Thread(fetch.Work, 256 << 10) { IsBackground = true, Name = "qcow2blk-secret" }.Start();
        return task;
    }

    /// <summary>Has it end soon.</summary>
    public void Abandon() => _isUnwanted = true;

    private void Work()
    {
        try
        {
            Failure = _work(this);
        }
        catch (Exception error)
        {
            // On a thread of ours it would end the process; its message may show what was read.
            Failure = $"failed: {error.GetType().Name}";
        }

        if (Failure is not null)
            Output = null;
        _loop.PostFromAnyThread(() => _done.SetResult(0));
    }
}
