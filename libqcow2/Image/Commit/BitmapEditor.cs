using System;
using System.Collections.Generic;
using System.Text;
using System.Text.Json;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Bitmaps;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Image.Commit;

/// <summary>
/// Making, changing and removing persistent bitmaps, with the rules of qemu. Each of them runs as an edit
/// (<see cref="Qcow2Image.EditAsync"/>), so all bits are on disk and nothing is in use; each ends with one step to another directory.
/// </summary>
internal sealed class BitmapEditor(BitmapSet set, IBitmapSpace space, Header header)
{
    /// <param name="name">of the bitmap</param>
    /// <param name="granularity">bytes that one bit stands for; null for what qemu takes</param>
    /// <param name="records">whether it follows changes from now on</param>
    public async LoopTask<EditAnswer> AddAsync(string name, long? granularity, bool records)
    {
        var directory = set.Directory?.Copy() ?? Empty();
        var (refused, stored) = await AddToAsync(directory, name, granularity, records);
        return refused ?? await ReplaceAsync(directory, stored);
    }

    /// <summary>Makes a bitmap, and names it in a directory that is to be the next.</summary>
    /// <returns>why not, or where it is</returns>
    public async LoopTask<(EditAnswer? Refused, StoredBitmap? Stored)> AddToAsync(
        BitmapDirectoryBytes directory, string name, long? granularity, bool records)
    {
        if (RefuseNew(name, granularity, out var shape) is { } refused)
            return (refused, null);
        if (directory.Find(name) >= 0)
        {
            return (EditAnswer.Refused(EditResult.Failed, $"there is a bitmap \"{name}\" already") with { Error = -Interop.Errno.EEXIST },
                null);
        }

        if (directory.Entries.Count >= Limits.MaxBitmaps)
        {
            return (EditAnswer.Refused(
                EditResult.Failed, $"it has {directory.Entries.Count} bitmaps, which is the most there can be"), null);
        }

        var stored = StoredBitmap.New(name, shape, space.ClusterBits);
        if (await set.WriteNewAsync(stored, null) is var unwritten and < 0)
            return (EditAnswer.OfErrno(unwritten, "cannot write its table"), null);
        directory.Add(
            name, records ? BitmapFlags.Auto : BitmapFlags.None, shape.GranularityBits, stored.TableOffset, stored.Clusters);
        if (directory.Bytes.Length <= Limits.MaxBitmapDirectoryBytes)
            return (null, stored);
        set.Free(stored);
        return (EditAnswer.Refused(
            EditResult.Failed, $"its directory would have more than {Limits.MaxBitmapDirectoryBytes} bytes"), null);
    }

    /// <summary>The one thing that can be done with an inconsistent bitmap.</summary>
    public async LoopTask<EditAnswer> RemoveAsync(string name)
    {
        if (Find(name, mayBeInconsistent: true, out var index) is { } refused)
            return refused;
        var directory = set.Directory!.Copy();
        var entry = directory.Entries[index];
        var (stored, note) = await TryLoadAsync(entry);
        directory.Remove(index);
        var answer = await ReplaceAsync(directory, null);
        if (answer.Succeeded && stored is not null)
            set.Free(stored);
        return answer.Succeeded && note is not null ? answer with { Note = $"its clusters leak: {note}" } : answer;
    }

    public async LoopTask<EditAnswer> ClearAsync(string name)
    {
        if (Find(name, mayBeInconsistent: false, out var index) is { } refused)
            return refused;
        return await ReplaceContentAsync(index, null);
    }

    /// <param name="name">of the bitmap</param>
    /// <param name="records">whether it follows changes from now on</param>
    public async LoopTask<EditAnswer> SetRecordingAsync(string name, bool records)
    {
        if (Find(name, mayBeInconsistent: false, out var index) is { } refused)
            return refused;
        var directory = set.Directory!.Copy();
        var flags = directory.Entries[index].Flags;
        var wanted = records ? flags | BitmapFlags.Auto : flags & ~BitmapFlags.Auto;
        if (wanted == flags)
            return EditAnswer.Done;
        directory.SetFlags(index, wanted);
        return await ReplaceAsync(directory, null);
    }

    /// <summary>Adds what another bitmap has.</summary>
    public async LoopTask<EditAnswer> MergeAsync(string name, string from)
    {
        if (Find(name, mayBeInconsistent: false, out var index) is { } refused)
            return refused;
        if (Find(from, mayBeInconsistent: false, out var source, mayBeShown: true) is { } noSource)
            return noSource;
        DirtyBitmap? bits = null;
        DirtyBitmap? added = null;
        try
        {
            (var error, bits) = await set.ReadAsync(set.Directory!.Entries[index]);
            if (error == 0)
                (error, added) = await set.ReadAsync(set.Directory.Entries[source]);
            if (error < 0)
                return EditAnswer.OfErrno(error, "cannot read it");
            bits!.Merge(added!);
            return await ReplaceContentAsync(index, bits);
        }
        catch (ImageFormatException damage)
        {
            return EditAnswer.Refused(EditResult.Failed, damage.Why);
        }
        finally
        {
            bits?.Dispose();
            added?.Dispose();
        }
    }

    /// <summary>All of them as JSON, with how much is dirty. Changes nothing, and may run at any time.</summary>
    public async LoopTask<EditAnswer> ListAsync()
    {
        if (set.Damage is { } damage)
            return EditAnswer.Refused(EditResult.Failed, damage);
        var listed = new List<(BitmapEntry Entry, long? Dirty)>();
        foreach (var entry in set.Directory?.Entries ?? [])
            listed.Add((entry, await DirtyBytesAsync(entry)));
        var buffer = new System.Buffers.ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartArray();
            foreach (var (entry, dirty) in listed)
                Write(writer, entry, dirty);
            writer.WriteEndArray();
        }

        return EditAnswer.Done with { Json = Encoding.UTF8.GetString(buffer.WrittenSpan) };
    }

    /// <summary>
    /// The bits of one as they are now, which the caller disposes of: also of one that is followed, or inside somebody's view. Changes
    /// nothing, and may run at any time but during an edit.
    /// </summary>
    public async LoopTask<(EditAnswer Answer, DirtyBitmap? Bits)> CopyAsync(string name)
    {
        if (set.Find(name) is { } loaded)
            return (EditAnswer.Done, loaded.Copy());
        if (Find(name, mayBeInconsistent: false, out var index, mayBeShown: true) is { } refused)
            return (refused, null);
        try
        {
            var (error, bits) = await set.ReadAsync(set.Directory!.Entries[index]);
            return (error == 0 ? EditAnswer.Done : EditAnswer.OfErrno(error, "cannot read it"), bits);
        }
        catch (ImageFormatException damage)
        {
            return (EditAnswer.Refused(EditResult.Failed, damage.Why), null);
        }
    }

    private void Write(Utf8JsonWriter writer, BitmapEntry entry, long? dirty)
    {
        writer.WriteStartObject();
        writer.WriteString("name"u8, entry.Name);
        writer.WriteNumber("granularity"u8, 1L << entry.GranularityBits);
        writer.WriteString("state"u8, set.IsKept(entry) ? "recording" : entry.State);
        writer.WriteStartArray("flags"u8);
        foreach (var flag in entry.FlagNames)
            writer.WriteStringValue(flag);
        writer.WriteEndArray();
        if (dirty is { } bytes)
            writer.WriteNumber("dirty-bytes"u8, bytes);
        writer.WriteBoolean("exported"u8, set.IsShown(entry.Name));
        writer.WriteEndObject();
    }

    /// <returns>null if it is inconsistent or cannot be read: then nobody can say</returns>
    public async LoopTask<long?> DirtyBytesAsync(BitmapEntry entry)
    {
        if (set.Find(entry.Name) is { } bits)
            return bits.DirtyBytes;
        if (entry.Flags.HasFlag(BitmapFlags.InUse))
            return null;
        try
        {
            var (error, read) = await set.ReadAsync(entry);
            using (read)
                return error == 0 ? read!.DirtyBytes : null;
        }
        catch (ImageFormatException)
        {
            return null;
        }
    }

    /// <summary>Lets an entry have another table, with these bits.</summary>
    private async LoopTask<EditAnswer> ReplaceContentAsync(int index, DirtyBitmap? bits)
    {
        var directory = set.Directory!.Copy();
        var (refused, before, stored) = await PutContentAsync(directory, index, bits);
        if (refused is { } why)
            return why;
        var answer = await ReplaceAsync(directory, stored);
        if (answer.Succeeded)
            set.Free(before!);
        return answer;
    }

    /// <summary>Lets an entry of a directory that is to be the next have another table, with these bits.</summary>
    /// <returns>why not; or the table of before, to be given up when that directory is the image's, and the new one</returns>
    public async LoopTask<(EditAnswer? Refused, StoredBitmap? Before, StoredBitmap? Stored)> PutContentAsync(
        BitmapDirectoryBytes directory, int index, DirtyBitmap? bits)
    {
        var entry = directory.Entries[index];
        var (before, note) = await TryLoadAsync(entry);
        if (before is null)
            return (EditAnswer.Refused(EditResult.Failed, note!), null, null);
        var stored = StoredBitmap.New(entry.Name, before.Shape, space.ClusterBits);
        if (await set.WriteNewAsync(stored, bits) is var unwritten and < 0)
            return (EditAnswer.OfErrno(unwritten, "cannot write its bits"), null, null);
        directory.SetTable(index, stored.TableOffset);
        return (null, before, stored);
    }

    /// <param name="directory">the next one</param>
    /// <param name="made">what only that one names</param>
    private async LoopTask<EditAnswer> ReplaceAsync(BitmapDirectoryBytes directory, StoredBitmap? made)
    {
        try
        {
            var error = await set.ReplaceDirectoryAsync(directory);
            return error < 0 ? EditAnswer.OfErrno(error, "cannot write the bitmap directory") : EditAnswer.Done;
        }
        catch (ImageFormatException noRoom)
        {
            if (made is not null)
                set.Free(made);
            return EditAnswer.Refused(EditResult.Failed, noRoom.Why);
        }
    }

    /// <returns>its table; or null, and what is wrong with it</returns>
    public async LoopTask<(StoredBitmap? Stored, string? Why)> TryLoadAsync(BitmapEntry entry)
    {
        try
        {
            var (error, stored) = await StoredBitmap.LoadAsync(space.File, entry, space.DiskSize, space.ClusterBits);
            return (stored, error < 0 ? $"its table cannot be read: {Interop.Errno.Text(error)}" : null);
        }
        catch (ImageFormatException damage)
        {
            return (null, damage.Why);
        }
    }

    /// <returns>null if it is there and may be changed</returns>
    private EditAnswer? Find(string name, bool mayBeInconsistent, out int index, bool mayBeShown = false)
    {
        index = -1;
        if (set.Damage is { } damage)
            return EditAnswer.Refused(EditResult.Failed, damage);
        index = set.Directory?.Find(name) ?? -1;
        if (index < 0)
            return EditAnswer.Refused(EditResult.NotFound, $"there is no bitmap \"{name}\"");
        var entry = set.Directory!.Entries[index];
        if (!mayBeShown && set.IsShown(entry.Name))
            return EditAnswer.Refused(EditResult.Busy, $"bitmap \"{name}\" is exported");
        if (entry.Flags.HasFlag(BitmapFlags.InUse) && !mayBeInconsistent)
            return EditAnswer.Refused(EditResult.Failed, $"bitmap \"{name}\" is inconsistent and cannot be used", "it can only be removed");
        if (!mayBeInconsistent && (entry.Type != BitmapDirectory.DirtyTrackingType || entry.ExtraDataSize > 0))
            return EditAnswer.Refused(EditResult.Failed, $"bitmap \"{name}\" is of a kind that is not known");
        return null;
    }

    private EditAnswer? RefuseNew(string name, long? granularity, out BitmapShape shape)
    {
        shape = default;
        if (header.Version < 3)
        {
            return EditAnswer.Refused(
                EditResult.Failed, "images of version 2 cannot have bitmaps", "\"qemu-img amend -o compat=1.1\" makes it version 3");
        }

        if (space.DiskSize == 0)
            return EditAnswer.Refused(EditResult.Failed, "its disk has no bytes");
        if (RefuseName(name) is { } badName)
            return badName;
        if (granularity is { } bytes && (bytes <= 0 || (bytes & (bytes - 1)) != 0))
            return EditAnswer.Refused(EditResult.Invalid, $"granularity {bytes} is not a power of two");
        var bits = granularity is { } given ? System.Numerics.BitOperations.Log2((ulong)given)
            : BitmapShape.DefaultGranularityBits(space.ClusterBits);
        shape = new BitmapShape(space.DiskSize, bits);
        if (shape.Refusal() is { } why)
            return EditAnswer.Refused(EditResult.Invalid, why, "another --granularity");
        return set.Damage is { } damage ? EditAnswer.Refused(EditResult.Failed, damage) : null;
    }

    private static EditAnswer? RefuseName(string name)
    {
        var length = Encoding.UTF8.GetByteCount(name);
        return length is 0 or > Limits.MaxBitmapNameLength
            ? EditAnswer.Refused(EditResult.Invalid, $"a bitmap's name has 1 to {Limits.MaxBitmapNameLength} bytes, this one {length}")
            : null;
    }

    /// <summary>A directory without entries.</summary>
    public BitmapDirectoryBytes Empty() => new([], 0, 1 << space.ClusterBits, space.File.Path);
}
