using System;
using System.Collections.Generic;
using System.IO;
using System.Threading.Tasks;
using Qcow2Blk.Buffers;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Image.Model;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>What a kill leaves.</summary>
/// <param name="Content">the image</param>
/// <param name="Log">the recovery log, up to its last record</param>
/// <param name="Disk">what was answered; what is in progress may be there or not</param>
/// <param name="InProgress">the ranges of requests that were not answered</param>
internal sealed record KilledScene(SparseBytes Content, byte[] Log, byte[] Disk, IReadOnlyList<(int Start, int Length)> InProgress)
{
    /// <summary>Null if these bytes of the disk are all right; else the first that is not.</summary>
    public string? Judge(ReadOnlySpan<byte> disk)
    {
        for (var at = disk.CommonPrefixLength(Disk); at < Disk.Length; at++)
        {
            if (disk[at] != Disk[at] && !IsInProgress(at))
                return $"byte {at} is {disk[at]}, and {Disk[at]} was answered";
        }

        return null;
    }

    private bool IsInProgress(int at)
    {
        foreach (var (start, length) in InProgress)
        {
            if (at >= start && at < start + length)
                return true;
        }

        return false;
    }
}

/// <summary>A server with a recovery log, and some guests that each write a part of the disk, all decided by a seed.</summary>
internal sealed class KilledServer(ModelImage subject, int seed, TempDirectory directory)
{
    private const int Guests = 3;

    private readonly Random _random = new(seed);
    private readonly (int Start, int Length)[] _inProgress = new (int, int)[Guests];
    private readonly byte[] _disk = (byte[])subject.Content.Clone();
    private readonly SparseBytes _content = subject.Files[0].Bytes.Copy();
    private readonly string _log = directory.File($"{Guid.NewGuid():n}.log");
    private int _requestsLeft;

    /// <summary>Writes that the server had begun so far; the kill comes before one of them begins.</summary>
    public int Writes { get; private set; }

    /// <summary>Whether part of a commit may be in the file.</summary>
    public bool IsCommitting
    {
        get
        {
            var log = SavedLog.Read(_log);
            return BitConverter.ToUInt64(log, 32) > BitConverter.ToUInt64(log, 8); // CapturedEnd, Start
        }
    }

    /// <summary>Whether guests also zero what they had written.</summary>
    public bool Zeroes { get; init; } = true;

    public bool HasRecords => RecoveryLog.HasRecords(_log);

    /// <summary>Does that many requests; at every write <paramref name="watch"/> may look at what a kill would leave.</summary>
    public void Run(int requests, Action<KilledServer> watch)
    {
        _requestsLeft = requests;
        using var loop = new SimulatedLoop(seed);
        var storage = new MemoryStorage(loop, _content);
        loop.Run(async () =>
        {
            var image = await subject.OpenAsync(loop, storage, new ImageOptions { RecoveryLog = _log, CacheBytes = 1 << 20 });
            storage.Fault = operation =>
            {
                if (operation.Kind == StorageOperationKind.Read)
                    return 0;
                Writes++;
                watch(this);
                return 0;
            };
            var guests = TaskGroup.Rent();
            for (var guest = 0; guest < Guests; guest++)
                guests.Add(GuestAsync(image, guest));
            Assert.Equal(0, await guests.WaitAsync());
            return await image.CloseAsync();
        });
    }

    /// <summary>What would be there if the server were killed now: of what is on its way to the file, any part.</summary>
    public KilledScene Scene() => new(_content.Copy(), SavedLog.Read(_log), (byte[])_disk.Clone(), [.. _inProgress]);

    private async LoopTask<int> GuestAsync(Qcow2Image image, int guest)
    {
        // Guests share clusters and tables, not sectors.
        var part = _disk.Length / Guests / 512 * 512;
        using var buffer = new TableBuffer(256 * 1024);
        while (_requestsLeft-- > 0)
        {
            var start = (guest * part) + (_random.Next(part / 512) * 512);
            var length = Math.Min(_random.Next(1, _random.Next(2) == 0 ? 16 : 400) * 512, ((guest + 1) * part) - start);
            var kind = _random.Next(8);
            if (kind == 0)
            {
                Assert.Equal(0, await image.FlushAsync());
                continue;
            }

            _inProgress[guest] = (start, length);
            if (kind <= 2 && Zeroes)
            {
                Assert.Equal(0, await image.WriteZeroesAsync(start, length, _random.Next(2) == 0 ? ZeroFlags.None : ZeroFlags.MayUnmap));
                _disk.AsSpan(start, length).Clear();
            }
            else
            {
                var payload = buffer.Take(length);
                _random.NextBytes(payload.Span);
                Assert.Equal(0, await image.WriteAsync(start, payload, forceUnitAccess: false));
                payload.Span.CopyTo(_disk.AsSpan(start));
            }

            _inProgress[guest] = default;
        }

        return 0;
    }
}

/// <summary>A recovery log as bytes, without the room that was never used.</summary>
internal static class SavedLog
{
    private const int RecordBytes = 40;

    private static long FileBytes => RecoveryLogFile.HeaderBytes + ((long)RecoveryLog.Capacity * RecordBytes);

    public static byte[] Read(string path)
    {
        using var file = File.OpenRead(path);
        var header = new byte[RecoveryLogFile.HeaderBytes];
        file.ReadExactly(header);
        var records = Math.Min(BitConverter.ToInt64(header, 16), RecoveryLog.Capacity); // End
        var log = new byte[header.Length + (records * RecordBytes)];
        header.CopyTo(log, 0);
        file.ReadExactly(log, header.Length, log.Length - header.Length);
        return log;
    }

    /// <returns>its path</returns>
    public static string Save(TempDirectory directory, byte[] log)
    {
        var path = directory.File($"{Guid.NewGuid():n}.log");
        using var file = File.Create(path);
        file.Write(log);
        if (log.Length > 0)
            file.SetLength(FileBytes);
        return path;
    }
}

/// <summary>The next server.</summary>
internal static class NextServer
{
    /// <summary>Opens the image with the log: everything answered is there, it can be written, and has no errors after.</summary>
    /// <param name="subject">the image without the edits</param>
    /// <param name="scene">what the kill left</param>
    /// <param name="log">the path of its log</param>
    /// <param name="watch">looks at every write of the recovery; null for none</param>
    public static void Recover(ModelImage subject, KilledScene scene, string log, Action<SparseBytes>? watch = null)
    {
        using var loop = new SimulatedLoop(scene.Log.Length);
        var content = scene.Content.Copy();
        var storage = new MemoryStorage(loop, content) { Modified = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() };
        if (watch is not null)
        {
            storage.Fault = operation =>
            {
                if (operation.Kind != StorageOperationKind.Read)
                    watch(content);
                return 0;
            };
        }

        loop.Run(async () =>
        {
            var image = await subject.OpenAsync(loop, storage, new ImageOptions { RecoveryLog = log, Replay = true });
            storage.Fault = null;
            using var buffer = new TableBuffer((scene.Disk.Length + 4095) & ~4095);
            var whole = buffer.Take(scene.Disk.Length);
            Assert.Equal(0, await image.ReadAsync(0, whole));
            if (scene.Judge(whole.Span) is { } wrong)
                Assert.Fail(wrong);

            // It goes on working, and what it allocates now is nobody else's.
            var payload = whole.Slice(0, Math.Min(65536, whole.Length));
            payload.Span.Fill(0xa5);
            Assert.Equal(0, await image.WriteAsync(0, payload, forceUnitAccess: true));
            return await image.CloseAsync();
        });
        var check = BytesChecker.Check(content);
        Assert.True(check.Errors == 0, check.Errors == 0 ? "" : check.Findings[0].Message);
    }

    /// <summary>As a loop of its own needs a thread of its own while another one runs on this.</summary>
    public static void Elsewhere(Action work) => Task.Run(work).GetAwaiter().GetResult();
}
