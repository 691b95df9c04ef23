using System;
using System.Runtime.InteropServices;
using System.Threading;
using Qcow2Blk.Buffers;
using Qcow2Blk.Exports.Traffic;
using Qcow2Blk.Interop;
using Qcow2Blk.Uring;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>
/// One hardware queue of a ublk device on one loop: its descriptors, its tags and the gate before them. Created and used
/// on its loop, but for the members that say otherwise.
/// </summary>
/// <remarks>
/// Invariants: descriptors stay mapped and buffers allocated until every tag was given back by the kernel; only the loop's
/// thread sends commands (the kernel refuses all others).
/// </remarks>
internal sealed unsafe class UblkQueue : IDisposable
{
    private readonly UblkTag[] _tags;
    private readonly ManualResetEventSlim _ended = new();
    private readonly nint _descriptors;
    private readonly nuint _descriptorsLength;
    private readonly int _descriptorSize;
    private readonly nint _buffers;
    private readonly nuint _buffersLength;
    private int _aborted;

    /// <param name="shape">what the queues of the device have in common</param>
    /// <param name="loop">the loop that serves the queue; the calling thread may be any, the loop must not know the queue yet</param>
    /// <param name="served">the disk</param>
    /// <param name="index">the number of the hardware queue</param>
    /// <param name="report">told what should never happen</param>
    /// <exception cref="ExportRefusedException">no memory, or the kernel refuses the mapping</exception>
    public UblkQueue(UblkShape shape, EventLoop loop, ServedDisk served, int index, Action<string> report)
    {
        Shape = shape;
        Loop = loop;
        Served = served;
        Index = index;
        Report = report;
        Gate = new RequestGate(loop, served.NoteStalls, served.Limits);
        _descriptorSize = shape.DescriptorBytes;
        var page = (nuint)Environment.SystemPageSize;
        _descriptorsLength = RoundUp((nuint)(shape.Depth * _descriptorSize), page);
        var offset = Interop.Ublk.UBLKSRV_CMD_BUF_OFFSET
            + (index * (long)RoundUp((nuint)(Interop.Ublk.UBLK_MAX_QUEUE_DEPTH * _descriptorSize), page));
        _descriptors = Files.Map(_descriptorsLength, PROT_READ, MAP_SHARED | MAP_POPULATE, shape.Descriptor, offset);
        if (_descriptors == 0)
        {
            throw new ExportRefusedException(ExportRefusal.Failed,
                $"cannot map the requests of queue {index}: {Errno.Text(Marshal.GetLastPInvokeError())}");
        }

        if (shape.Mode == UblkMode.Map && !shape.NullIo)
        {
            _buffersLength = (nuint)shape.Depth * (nuint)shape.MaximumBytes;
            _buffers = Files.Map(_buffersLength, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        }
        else if (shape.Mode == UblkMode.Map)
        {
            // Nobody looks at the bytes: one buffer for all.
            _buffersLength = (nuint)shape.MaximumBytes;
            _buffers = Files.Map(_buffersLength, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        }

        if (_buffersLength > 0 && _buffers == 0)
        {
            Files.Unmap(_descriptors, _descriptorsLength);
            throw new ExportRefusedException(ExportRefusal.Failed, $"no memory for {shape.Depth} requests of {shape.MaximumBytes} bytes",
                "use a smaller --depth");
        }

        // Never written to, so all of it is the kernel's one page of zeroes.
        Zeroes = Files.Map((nuint)shape.MaximumBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (Zeroes == 0)
            throw new ExportRefusedException(ExportRefusal.Failed, "no memory for requests");
        _tags = new UblkTag[shape.Depth];
    }

    /// <summary>What requests may hold at a time of memory that their bytes are copied to.</summary>
    public const int CopyBytes = 4 << 20;

    public UblkShape Shape { get; }

    /// <summary>As many zeroes as the largest request has bytes.</summary>
    public nint Zeroes { get; }

    public EventLoop Loop { get; }

    public ServedDisk Served { get; }

    public int Index { get; }

    public Action<string> Report { get; }

    public RequestGate Gate { get; }

    /// <summary>Requests that are to be copied wait here for memory.</summary>
    public WorkBudget Copies { get; } = new(CopyBytes);

    public IoStatistics Statistics { get; } = new();

    /// <summary>Requests whose bytes did not go through memory of ours. Read by any thread, a little late.</summary>
    public long ZeroCopied { get; set; }

    /// <summary>Makes the tags and offers all of them to the kernel. On the loop.</summary>
    /// <returns>0, or a negative errno if cannot register buffers with the ring</returns>
    public int Start()
    {
        if (Shape.Mode == UblkMode.ZeroCopy && Loop.Ring.RegisterSparseBuffers((uint)Shape.Depth) is var error and < 0)
            return error;
        Threads.SetIoFlusher();
        for (var i = 0; i < _tags.Length; i++)
        {
            _tags[i] = new UblkTag(this, (ushort)i, BufferOf(i));
            _tags[i].Fetch();
        }

        return 0;
    }

    /// <summary>The descriptor of a request; valid while the server has the tag.</summary>
    public ref readonly ublksrv_io_desc DescriptorOf(int tag) =>
        ref *(ublksrv_io_desc*)(_descriptors + (tag * _descriptorSize));

    /// <summary>The kernel took a tag back for good.</summary>
    public void Aborted()
    {
        if (++_aborted == _tags.Length)
            _ended.Set();
    }

    /// <summary>Waits until the kernel has taken all tags back. Any thread but the loop's.</summary>
    public bool WaitForEnd(TimeSpan timeout) => _ended.Wait(timeout);

    /// <summary>Unmaps what the kernel wrote to. Only after all tags are back, or were never offered.</summary>
    public void Dispose()
    {
        Files.Unmap(_descriptors, _descriptorsLength);
        if (_buffersLength > 0)
            Files.Unmap(_buffers, _buffersLength);
        Files.Unmap(Zeroes, (nuint)Shape.MaximumBytes);
        _ended.Dispose();
    }

    private NativeBuffer BufferOf(int tag)
    {
        if (_buffersLength == 0)
            return default;
        return new NativeBuffer(Shape.NullIo ? _buffers : _buffers + (nint)((nuint)tag * (nuint)Shape.MaximumBytes), Shape.MaximumBytes);
    }

    private static nuint RoundUp(nuint value, nuint step) => (value + step - 1) / step * step;
}
