using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Image;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image.Snapshots;

/// <summary>A disk that is written, zeroed, discarded and flushed while snapshots of it are made; it knows what each must hold.</summary>
internal sealed class WritingGuest : IDisposable
{
    private const int Sector = 4096;

    private readonly Random _random;
    private readonly byte[] _disk;
    private readonly List<byte[]> _snapshots = [];
    private (int Start, int Length) _inProgress;

    // What each sector may read as after a power cut: all that it was since the last call of ForgetValues.
    private HashSet<byte>[] _values = [];

    public WritingGuest(SparseBytes image, int seed, ImageOptions? options = null, Action<string>? report = null)
    {
        One = new OneImage(image, seed: seed, options: options, report: report);
        _random = new Random(seed);
        _disk = new GuestReader(One.Storage.Content).ReadAll();
        ForgetValues();
    }

    public OneImage One { get; }

    public bool Flushes { get; init; } = true;

    /// <summary>Runs when the first step of a snapshot is over.</summary>
    public Action? WhileCounting { get; set; }

    public ILongEdit? Steps { get; private set; }

    public int WritesMeanwhile { get; private set; }

    public bool IsWriting => _inProgress.Length > 0;

    public void Dispose() => One.Dispose();

    public void ForgetValues() =>
        _values = [.. Enumerable.Range(0, _disk.Length / Sector).Select(sector => new HashSet<byte> { _disk[sector * Sector] })];

    /// <summary>Makes a snapshot, and writes all the time but in its first and last step.</summary>
    public EditAnswer Snapshot(string name)
    {
        Steps = One.Image.NewSnapshot(name, SnapshotScene.Taken);
        EditAnswer answer = default;
        One.Loop.Run(async () =>
        {
            answer = await Steps.BeginAsync();
            if (!answer.Succeeded)
                return 0;
            var then = (byte[])_disk.Clone();
            _snapshots.Add(then);
            WhileCounting?.Invoke();
            var group = TaskGroup.Rent();
            var isOver = false;
            group.Add(WriteUntilAsync(() => isOver));
            answer = await Steps.WorkAsync();

            One.Storage.Fault = null;

            // Some are answered after it was counted, and before there is a snapshot.
            await LastWritesAsync();
            isOver = true;
            await group.WaitAsync();
            answer = await Steps.EndAsync();
            if (!answer.Succeeded)
                _snapshots.Remove(then);
            return 0;
        });
        return answer;
    }

    /// <summary>What a kill would leave at this moment.</summary>
    public KilledScene Scene(string log) =>
        new(One.Storage.Content.Copy(), SavedLog.Read(log), (byte[])_disk.Clone(), [_inProgress]);

    /// <summary>The disk is what was written last, and each snapshot what it was.</summary>
    /// <param name="content">the image</param>
    /// <param name="mayBeOlder">the power was cut</param>
    public void AssertHolds(IImageBytes content, bool mayBeOlder = false)
    {
        AssertKept(content);
        var now = new GuestReader(content).ReadAll();
        if (!mayBeOlder)
            Assert.True(now.AsSpan().SequenceEqual(_disk), $"byte {now.AsSpan().CommonPrefixLength(_disk)} is another one");
        for (var sector = 0; sector < _values.Length && mayBeOlder; sector++)
        {
            for (var at = sector * Sector; at < (sector + 1) * Sector; at += 512)
            {
                Assert.True(_values[sector].Contains(now[at]) && !now.AsSpan(at, 512).ContainsAnyExcept(now[at]),
                    $"byte {at} of the disk was never {now[at]}");
            }
        }
    }

    public void AssertKept(IImageBytes content)
    {
        var kept = new GuestReader(content).Snapshots();
        Assert.InRange(kept.Count, 0, _snapshots.Count);
        for (var i = 0; i < kept.Count; i++)
            Assert.True(kept[i].ReadAll().AsSpan().SequenceEqual(_snapshots[i]), $"snapshot {i} of {kept.Count} is another one");
    }

    private async LoopTask<int> LastWritesAsync()
    {
        for (var i = 0; i < 3; i++)
            await LoopScheduler.Current.DelayAsync(1);
        return 0;
    }

    private async LoopTask<int> WriteUntilAsync(Func<bool> isOver)
    {
        WritesMeanwhile = 0;
        while (!isOver())
        {
            if (await RequestAsync() is var error and < 0 && error != -28)
                Assert.Fail($"errno {-error}");
            WritesMeanwhile++;
        }

        return 0;
    }

    private async LoopTask<int> RequestAsync()
    {
        var length = _random.Next(1, 20) * Sector;
        var start = _random.Next((_disk.Length - length) / Sector) * Sector;
        var kind = _random.Next(8);
        if (kind == 0 && Flushes)
            return await One.Image.FlushAsync();
        var value = kind <= 2 ? (byte)0 : (byte)_random.Next(1, 256);
        for (var sector = start / Sector; sector < (start + length) / Sector; sector++)
            _values[sector].Add(value);
        _inProgress = (start, length);
        var error = kind switch
        {
            1 => await One.Image.WriteZeroesAsync(start, length, ZeroFlags.None),
            2 => await One.Image.WriteZeroesAsync(start, length, ZeroFlags.MayUnmap),
            _ => await One.WriteAsync(start, length, value),
        };
        if (error == 0)
            _disk.AsSpan(start, length).Fill(value);
        _inProgress = default;
        return error;
    }
}
