using System;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Qcow2Blk.Remote;
using Qcow2Blk.Scheduling;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Bases;

/// <summary>A source that holds <see cref="Content"/>, and answers as a test wants.</summary>
internal sealed class FakeSource(string name, byte[] content, string? version = "\"one\"") : IRemoteSource
{
    private readonly List<ManualSource<int>> _held = [];
    private readonly List<Gate> _gates = [];
    private bool _isClosed;

    public byte[] Content { get; set; } = content;

    public string Name { get; } = name;

    public int Depth { get; set; } = 4;

    public SourceIdentity? Identity { get; private set; }

    /// <summary>What the next attempts end with; done when there is none left.</summary>
    public Queue<FetchResult> Next { get; } = new();

    /// <summary>What every attempt ends with; null for what <see cref="Next"/> says.</summary>
    public FetchResult? Always { get; set; }

    /// <summary>Whether reads wait for <see cref="LetGo"/>.</summary>
    public bool Holds { get; set; }

    /// <summary>Whether what is sent is wrong by a bit.</summary>
    public bool Lies { get; set; }

    /// <summary>How many milliseconds the next reads take; one each when there is none left.</summary>
    public Queue<int> Delays { get; } = new();

    /// <summary>How many milliseconds the next openings take; none when there is none left.</summary>
    public Queue<int> OpenDelays { get; } = new();

    /// <summary>Whether reads can be called off.</summary>
    public bool CallsOff { get; set; } = true;

    public bool HasOwnWays { get; set; }

    /// <summary>Whether it does not look at what it is expected to be.</summary>
    public bool ComparesNothing { get; set; }

    /// <summary>Of all reads that could be called off.</summary>
    public List<ReadHandle> Handles { get; } = [];

    public List<int> Lengths { get; } = [];

    /// <summary>Whether the first byte of each answer comes at once, and the others late.</summary>
    public bool Begins { get; set; }

    /// <summary>Where what is asked for is known to be zeroes, and not sent; null for nowhere.</summary>
    public Func<long, bool>? KnowsZeroes { get; set; }

    /// <summary>Whether what is under way goes on for as long as it takes when the source is closed.</summary>
    public bool Lingers { get; set; }

    public List<long> Reads { get; } = [];

    public int Opens { get; private set; }

    public int Held => _held.Count;

    public async LoopTask<FetchResult> OpenAsync(SourceIdentity? expected)
    {
        Opens++;
        if (OpenDelays.TryDequeue(out var delay))
            await LoopScheduler.Current.DelayAsync(delay);
        var result = Take();
        if (result.IsDone)
        {
            var found = new SourceIdentity(Content.Length, version);
            var isOther = expected is { } other
                && (other.Length != found.Length || (other.Version is not null && other.Version != version));
            if (isOther && !ComparesNothing)
                result = new FetchResult(FetchStatus.Changed, $"{Name} is another object");
            else
                Identity = found;
        }

        return result;
    }

    public LoopTask<FetchResult> ReadAsync(long offset, NativeBuffer buffer) => ReadAsync(offset, buffer, new ReadHandle());

    public async LoopTask<FetchResult> ReadAsync(long offset, NativeBuffer buffer, ReadHandle handle)
    {
        Handles.Add(handle);
        Lengths.Add(buffer.Length);
        Assert.NotNull(Identity);
        Assert.InRange(offset + buffer.Length, 1, Content.Length);
        if (KnowsZeroes?.Invoke(offset) == true)
        {
            buffer.Clear();
            return FetchResult.Zeroes;
        }

        Reads.Add(offset);
        if (Holds)
        {
            var gate = ManualSource<int>.Rent();
            _held.Add(gate);
            await gate.Task;
        }
        else
        {
            handle.HasBegun = Begins;
            var gate = new Gate();
            _gates.Add(gate);
            if (CallsOff)
                handle.Cancelled = gate.Open;
            gate.OpenAfterAsync(Delays.TryDequeue(out var delay) ? delay : 1).Forget();
            await gate.Task;
            handle.Cancelled = null;
        }

        // Until now the memory is the source's, whoever has lost interest.
        buffer.Span.Fill(0xEE);
        if (handle.IsCancelled && CallsOff)
            return new FetchResult(FetchStatus.Unavailable, "called off");
        if (_isClosed)
            return new FetchResult(FetchStatus.Unavailable, "closed");
        var result = Take();
        Content.AsSpan((int)offset, buffer.Length).CopyTo(buffer.Span);
        if (Lies)
            buffer.Span[^1] ^= 1;
        if (!result.IsDone)
            buffer.Span.Fill(0xEE);
        return result;
    }

    public void LetGo()
    {
        Holds = false;
        foreach (var gate in _held)
            gate.SetResult(0);
        _held.Clear();
    }

    public LoopTask<int> CloseAsync()
    {
        _isClosed = true;
        if (Lingers)
            return new LoopTask<int>(0);
        LetGo();
        foreach (var gate in _gates)
            gate.Open();
        return new LoopTask<int>(0);
    }

    private FetchResult Take() => Always ?? (Next.TryDequeue(out var result) ? result : FetchResult.Done);

    private sealed class Gate
    {
        private readonly ManualSource<int> _source = ManualSource<int>.Rent();
        private bool _isOpen;

        public Gate() => Task = _source.Task;

        public LoopTask<int> Task { get; }

        public void Open()
        {
            if (_isOpen)
                return;
            _isOpen = true;
            _source.SetResult(0);
        }

        public async LoopTask<int> OpenAfterAsync(int milliseconds)
        {
            await LoopScheduler.Current.DelayAsync(milliseconds);
            Open();
            return 0;
        }
    }
}
