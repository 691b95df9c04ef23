using System;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Qcow2Blk.Image;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Tests.Exports;

/// <summary>A disk that holds nothing: what is asked of it is noted, and answered as a test says.</summary>
internal sealed class FakeDisk : IDisk
{
    public long Size { get; init; } = 16 << 20;

    public bool ReadOnly => false;

    public long ClusterBytes => 4096;

    public long TurnBytes => 1L << 30;

    public bool TurnsMayGrow => false;

    public IBlockStorage File { get; } = new NoStorage();

    /// <summary>Whether all of the disk is known to read as zeroes; looking for that is noted then.</summary>
    public bool IsZero { get; init; }

    /// <summary>Where all of the disk is, at the same offsets; null if nothing can be mapped.</summary>
    public IBlockStorage? MapsTo { get; init; }

    public string? WriteErrorReason { get; set; }

    public RequestEpochs Epochs { get; } = new();

    /// <summary>What was asked, in order.</summary>
    public List<string> Calls { get; } = [];

    /// <summary>The result of a call, by its first word.</summary>
    public Func<string, int> Answer { get; set; } = _ => 0;

    public bool TryMapRead(long offset, int length, out FileExtent extent) => TryMap("map-read", offset, length, out extent);

    public bool TryMapZeroes(long offset, int length)
    {
        if (IsZero)
            Calls.Add($"map-zeroes{Outside} {offset}+{length}");
        return IsZero;
    }

    public bool TryMapWrite(long offset, int length, out FileExtent extent) => TryMap("map-write", offset, length, out extent);

    public void NoteDirectWrite() => Calls.Add($"note{Outside}");

    public LoopTask<int> ReadAsync(long offset, NativeBuffer buffer)
    {
        buffer.Clear();
        return Call("read", $" {offset}+{buffer.Length}");
    }

    public LoopTask<int> WriteAsync(long offset, NativeBuffer buffer, bool forceUnitAccess) =>
        Call("write", $" {offset}+{buffer.Length}{(forceUnitAccess ? " forced" : "")}");

    public LoopTask<int> WriteZeroesAsync(long offset, long length, ZeroFlags flags) => Call("zero", $" {offset}+{length} {flags}");

    public LoopTask<int> DiscardAsync(long offset, long length) => Call("discard", $" {offset}+{length}");

    public LoopTask<int> FlushAsync() => Call("flush");

    public LoopTask<DiskExtent> MapAsync(long offset, long length) =>
        new(new DiskExtent(0, length, IsHole: false, IsZero: false, Depth: 1));

    public LoopTask<int> PrefetchAsync(long offset, long length) => Call("prefetch", $" {offset}+{length}");

    public LoopTask<int> CloseAsync() => Call("close");

    private bool TryMap(string what, long offset, int length, out FileExtent extent)
    {
        Calls.Add($"{what}{Outside} {offset}+{length}");
        extent = MapsTo is { } file ? new FileExtent(file, offset) : default;
        return MapsTo is not null;
    }

    private string Outside => Epochs.InProgress == 0 ? " outside an epoch" : "";

    private LoopTask<int> Call(string what, string details = "")
    {
        Calls.Add(what + details);
        return new LoopTask<int>(Answer(what));
    }
}
