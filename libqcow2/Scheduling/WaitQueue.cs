using System;

namespace Qcow2Blk.Scheduling;

/// <summary>Tasks that wait for an event, in order of arrival. Woken ones run later, not on the waker's stack.</summary>
internal sealed class WaitQueue
{
    private readonly Action _drain;
    private ManualSource<int>? _head;
    private ManualSource<int>? _tail;
    private ManualSource<int>? _readyHead;
    private ManualSource<int>? _readyTail;

    public WaitQueue() => _drain = Drain;

    public bool IsEmpty => _head is null;

    public LoopTask<int> WaitAsync()
    {
        var source = ManualSource<int>.Rent();
        Append(ref _head, ref _tail, source);
        return source.Task;
    }

    public void WakeOne()
    {
        var source = _head;
        if (source is null)
            return;
        _head = source.Next;
        if (_head is null)
            _tail = null;
        source.Next = null;
        MakeReady(source, source);
    }

    public void WakeAll()
    {
        if (_head is null)
            return;
        var (head, tail) = (_head, _tail!);
        (_head, _tail) = (null, null);
        MakeReady(head, tail);
    }

    private static void Append(ref ManualSource<int>? head, ref ManualSource<int>? tail, ManualSource<int> source)
    {
        if (tail is null)
            head = source;
        else
            tail.Next = source;
        tail = source;
    }

    private void MakeReady(ManualSource<int> head, ManualSource<int> tail)
    {
        if (_readyTail is null)
        {
            _readyHead = head;
            LoopScheduler.Current.Post(_drain);
        }
        else
        {
            _readyTail.Next = head;
        }

        _readyTail = tail;
    }

    private void Drain()
    {
        var source = _readyHead;
        (_readyHead, _readyTail) = (null, null);
        while (source is not null)
        {
            var next = source.Next;
            source.Next = null;
            source.SetResult(0);
            source = next;
        }
    }
}
