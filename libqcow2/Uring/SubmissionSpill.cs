using System;
using DotNext.Buffers;
using DotNext.Runtime.InteropServices;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Uring;

/// <summary>
/// Submission entries for which the ring had no room, in the order in which they were made. Empty but for moments in which
/// the kernel takes nothing: no operation may be lost then, and no caller can wait.
/// </summary>
/// <remarks>
/// Invariant: an entry's address holds until the next <see cref="Add"/>, by which its maker has filled it. There are never
/// more entries than operations registered with the loop, as each has one in progress at most (and its cancellation).
/// </remarks>
internal sealed unsafe class SubmissionSpill : IDisposable
{
    private const int FirstCapacity = 64;

    private IUnmanagedMemory<io_uring_sqe>? _memory;
    private io_uring_sqe* _entries;
    private int _capacity;
    private int _head;

    /// <summary>Entries that wait.</summary>
    public int Count { get; private set; }

    /// <summary>A zeroed entry behind all others.</summary>
    public io_uring_sqe* Add()
    {
        if (_head + Count == _capacity)
            MakeRoom();
        var entry = _entries + _head + Count++;
        *entry = default;
        return entry;
    }

    /// <summary>Takes the entry that waits longest.</summary>
    public bool TryTake(out io_uring_sqe entry)
    {
        if (Count == 0)
        {
            entry = default;
            return false;
        }

        entry = _entries[_head++];
        if (--Count == 0)
            _head = 0;
        return true;
    }

    public void Dispose()
    {
        _memory?.Dispose();
        _memory = null;
        _entries = null;
        _capacity = _head = Count = 0;
    }

    private void MakeRoom()
    {
        if (_head > Count)
        {
            Buffer.MemoryCopy(_entries + _head, _entries, _capacity * (long)sizeof(io_uring_sqe), Count * (long)sizeof(io_uring_sqe));
            _head = 0;
            return;
        }

        _capacity = Math.Max(FirstCapacity, checked(_capacity * 2));
        if (_memory is null)
            _memory = UnmanagedMemory.Allocate<io_uring_sqe>(_capacity);
        else
            _memory.Reallocate(_capacity);
        _entries = _memory.Pointer;
    }
}
