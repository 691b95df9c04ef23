using System;
using System.Threading;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Interop;
using Qcow2Blk.Uring;
using static Qcow2Blk.Interop.Ublk;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Kernel;

/// <summary>
/// Serves one queue of a ublk device without a disk behind: reads give whatever the buffer holds, all else succeeds.
/// Enough to start a device, and to end it in every way. On a thread of its own, in mapped-copy mode.
/// </summary>
internal sealed unsafe class NullServer : IDisposable
{
    private const int Depth = 4;
    private const int BufferBytes = 64 << 10;

    private readonly int _character;
    private readonly nint _descriptors;
    private readonly nint _buffers;
    private readonly Thread _thread;
    private readonly ManualResetEventSlim _fetching = new();
    private readonly ManualResetEventSlim _mayCommit = new(true);
    private volatile bool _ending;

    public NullServer(int device)
    {
        _character = UblkNodes.OpenCharacter(device);
        Checks.True(_character >= 0, $"opening {UblkNodes.CharacterPath(device)}: {_character}");
        _descriptors = Files.Map(4096, PROT_READ, MAP_SHARED | MAP_POPULATE, _character, UBLKSRV_CMD_BUF_OFFSET);
        Checks.True(_descriptors != 0, "mapping the descriptors");
        _buffers = Files.Map(Depth * BufferBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        _thread = new Thread(Serve) { IsBackground = true };
        _thread.Start();
        _fetching.Wait();
    }

    /// <summary>A disk of the usual kind.</summary>
    /// <param name="size">bytes</param>
    public static UblkDisk Disk(long size) => new()
    {
        Size = size,
        IsReadOnly = false,
        LogicalBlockSize = 512,
        ClusterSize = 65536,
        MaxIoBytes = 64 << 10,
        CanDiscard = true,
    };

    /// <summary>What ADD_DEV is asked for.</summary>
    public static ublksrv_ctrl_dev_info Wanted(ulong flags) => new()
    {
        nr_hw_queues = 1,
        queue_depth = Depth,
        max_io_buf_bytes = BufferBytes,
        dev_id = AnyDevice,
        flags = flags,
        ublksrv_flags = UblkDevice.Mark,
    };

    /// <summary>Requests that came.</summary>
    public int Served { get; private set; }

    /// <summary>Requests are taken but not answered until <see cref="Release"/>.</summary>
    public void Hold() => _mayCommit.Reset();

    public void Release() => _mayCommit.Set();

    /// <summary>Lets go of the device, whatever its state.</summary>
    public void Dispose()
    {
        _ending = true;
        _mayCommit.Set();
        _thread.Join();
        Files.Unmap(_descriptors, 4096);
        Files.Unmap(_buffers, Depth * BufferBytes);
        Files.Close(_character);
    }

    private void Serve()
    {
        Checks.Equal(0, Ring.Create(16, out var made), "a ring for the queue");
        using var ring = made!;
        for (var tag = 0; tag < Depth; tag++)
            Send(ring, UBLK_U_IO_FETCH_REQ, tag, 0);
        ring.Enter(0, 0);
        _fetching.Set();
        var live = Depth;
        while (live > 0 && !_ending)
        {
            ring.Enter(1, 50_000_000);
            while (ring.TryTake(out var tag, out var result, out _))
            {
                if (result != UBLK_IO_RES_OK)
                {
                    live--;
                    continue;
                }

                _mayCommit.Wait();
                Served++;
                var request = ((ublksrv_io_desc*)_descriptors)[tag];
                var moves = (request.op_flags & OperationMask) is UBLK_IO_OP_READ or UBLK_IO_OP_WRITE;
                Send(ring, UBLK_U_IO_COMMIT_AND_FETCH_REQ, (int)tag, moves ? (int)request.nr_sectors * 512 : 0);
            }
        }
    }

    private void Send(Ring ring, uint command, int tag, int result)
    {
        var entry = ring.Next();
        entry->opcode = IoUring.IORING_OP_URING_CMD;
        entry->fd = _character;
        entry->cmd_op = command;
        entry->user_data = (ulong)tag;
        *(ublksrv_io_cmd*)&entry->cmd = new ublksrv_io_cmd
        {
            tag = (ushort)tag,
            result = result,
            addr = (ulong)(_buffers + (tag * BufferBytes))
        };
    }
}
