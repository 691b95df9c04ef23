using System;

namespace Qcow2Blk.Scheduling;

/// <summary>A task that somebody completes by hand; pooled per thread.</summary>
internal sealed class ManualSource<T> : LoopTaskSource<T>
{
    [ThreadStatic]
    private static ManualSource<T>? s_free;

    private ManualSource()
    {
    }

    /// <summary>Links waiters in a queue; free for the owner of a source that is in use.</summary>
    internal ManualSource<T>? Next { get; set; }

    public static ManualSource<T> Rent()
    {
        var source = s_free;
        if (source is null)
            return new ManualSource<T>();
        s_free = source.Next;
        source.Next = null;
        return source;
    }

    protected override void Recycle()
    {
        Next = s_free;
        s_free = this;
    }
}
