using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Embedding;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Abi;

/// <summary>Snapshots and bitmaps of an image that is open here.</summary>
internal static unsafe partial class Exports
{
    private const uint BitmapDisabled = (uint)BitmapTraits.Disabled;

    [UnmanagedCallersOnly(EntryPoint = "managed_image_create_snapshot", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageCreateSnapshot(nint image, byte* name, byte* id, nuint size, uint flags) =>
        EditImage(image, flags, NoFlags, name, ImageEditRequests.CreateSnapshot, outcome => FillId(outcome, id, size));

    [UnmanagedCallersOnly(EntryPoint = "managed_image_delete_snapshot", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageDeleteSnapshot(nint image, byte* snapshot, uint flags) =>
        EditImage(image, flags, NoFlags, snapshot, ImageEditRequests.DeleteSnapshot);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_revert_snapshot", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageRevertSnapshot(nint image, byte* snapshot, uint flags) =>
        EditImage(image, flags, NoFlags, snapshot, which => ImageEditRequests.RevertSnapshot(which, force: true));

    [UnmanagedCallersOnly(EntryPoint = "managed_image_resize", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageResize(nint image, ulong size, uint flags) => EditImage(
        image, flags, AllowShrink, () => ImageEditRequests.Resize(size, (flags & AllowShrink) != 0, force: false));

    [UnmanagedCallersOnly(EntryPoint = "managed_image_add_bitmap", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageAddBitmap(nint image, byte* name, ulong granularity, uint flags) => EditImage(
        image, flags, BitmapDisabled, name, of => ImageEditRequests.AddBitmap(of, granularity, (flags & BitmapDisabled) != 0));

    [UnmanagedCallersOnly(EntryPoint = "managed_image_remove_bitmap", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageRemoveBitmap(nint image, byte* name, uint flags) =>
        EditImage(image, flags, NoFlags, name, ImageEditRequests.RemoveBitmap);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_clear_bitmap", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageClearBitmap(nint image, byte* name, uint flags) =>
        EditImage(image, flags, NoFlags, name, ImageEditRequests.ClearBitmap);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_enable_bitmap", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageEnableBitmap(nint image, byte* name, uint flags) =>
        EditImage(image, flags, NoFlags, name, ImageEditRequests.EnableBitmap);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_disable_bitmap", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageDisableBitmap(nint image, byte* name, uint flags) =>
        EditImage(image, flags, NoFlags, name, ImageEditRequests.DisableBitmap);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_merge_bitmap", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageMergeBitmap(nint image, byte* name, byte* from, uint flags)
    {
        if (from is null)
            return LastError.Missing();
        return EditImage(image, flags, NoFlags, name, of => ImageEditRequests.MergeBitmap(of, Text.Of(from)!));
    }

    /// <summary>struct qcow2blk_bitmap.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Bitmap
    {
        public uint Size;
        public uint Flags;
        public byte* Name;
        public ulong Granularity;
        public long DirtyBytes;
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_image_list_bitmaps", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageListBitmaps(
        nint image, delegate* unmanaged[Cdecl]<void*, Bitmap*, int> callback, void* userData, uint flags)
    {
        if (callback is null)
            return LastError.Missing();
        string? json = null;
        var error = EditImage(image, flags, NoFlags, ImageEditRequests.ListBitmaps, outcome => json = outcome.Json);
        return error < 0 ? error : TellBitmaps(json, callback, userData);
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_image_bitmap_status", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageBitmapStatus(nint image, byte* name, ulong offset, ulong length,
        delegate* unmanaged[Cdecl]<void*, StatusExtent*, int> callback, void* userData, uint flags)
    {
        if (s_handles.Find<OpenImage>(image) is not { } opened)
            return LastError.NotAHandle();
        if (name is null || callback is null)
            return LastError.Missing();
        if (flags != 0)
            return LastError.UnknownFlags();
        if (opened.CheckThread(waits: true) is var refusal and < 0)
            return ThreadRefused(refusal);
        if (offset > long.MaxValue || length > long.MaxValue || (long)offset > opened.Size - (long)length)
            return IoFailed(-Errno.EINVAL);
        try
        {
            var outcome = opened.CopyBitmap(Text.Of(name)!, out var copy);
            if (!outcome.Succeeded)
                return LastError.Set(Failure.Of(outcome, "cannot read the bitmap"));
            using var bits = copy;
            for (var (at, left) = ((long)offset, (long)length); left > 0;)
            {
                var extent = BitmapStatus.At(bits!, at, left);
                var result = callback(userData, &extent);
                if (result != 0)
                    return result;
                at += (long)extent.Length;
                left -= (long)extent.Length;
            }

            return 0;
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot read the bitmap"));
        }
    }

    private static int TellBitmaps(string? json, delegate* unmanaged[Cdecl]<void*, Bitmap*, int> callback, void* userData)
    {
        IReadOnlyList<ListedBitmap> bitmaps;
        try
        {
            bitmaps = EditLists.Bitmaps(json);
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot list the bitmaps"));
        }

        foreach (var entry in bitmaps)
        {
            var name = Marshal.StringToCoTaskMemUTF8(entry.Name);
            Bitmap bitmap = new()
            {
                Size = (uint)sizeof(Bitmap),
                Flags = (uint)entry.Traits,
                Name = (byte*)name,
                Granularity = entry.Granularity,
                DirtyBytes = entry.DirtyBytes ?? -1,
            };
            var result = callback(userData, &bitmap);
            Marshal.FreeCoTaskMem(name);
            if (result != 0)
                return result;
        }

        return 0;
    }

    private static int TellSnapshots(
        IReadOnlyList<ListedSnapshot> snapshots, delegate* unmanaged[Cdecl]<void*, Snapshot*, int> callback, void* userData)
    {
        foreach (var entry in snapshots)
        {
            var id = Marshal.StringToCoTaskMemUTF8(entry.Id);
            var name = Marshal.StringToCoTaskMemUTF8(entry.Name);
            Snapshot snapshot = new()
            {
                Size = (uint)sizeof(Snapshot),
                DateNanoseconds = entry.DateNanoseconds,
                Id = (byte*)id,
                Name = (byte*)name,
                DateSeconds = entry.DateSeconds,
                VmClock = entry.VmClock,
                VmStateSize = entry.VmStateSize,
                DiskSize = entry.DiskSize,
            };
            var result = callback(userData, &snapshot);
            Marshal.FreeCoTaskMem(id);
            Marshal.FreeCoTaskMem(name);
            if (result != 0)
                return result;
        }

        return 0;
    }

    /// <summary>The ID of a new snapshot, where the caller wants it.</summary>
    private static void FillId(in Outcome outcome, byte* id, nuint size)
    {
        if (id is not null)
            Text.Fill(EditLists.NewId(outcome.Json), id, size);
    }

    private static int EditImage(nint image, uint flags, uint known, byte* name, Func<string, ImageEdit> edit, Action<Outcome>? done = null)
    {
        if (s_handles.Find<OpenImage>(image) is null)
            return LastError.NotAHandle();
        return name is null ? LastError.Missing() : EditImage(image, flags, known, () => edit(Text.Of(name)!), done);
    }

    private static int EditImage(nint image, uint flags, uint known, Func<ImageEdit> edit, Action<Outcome>? done = null)
    {
        if (s_handles.Find<OpenImage>(image) is not { } opened)
            return LastError.NotAHandle();
        if ((flags & ~known) != 0)
            return LastError.UnknownFlags();
        if (opened.CheckThread(waits: true) is var refusal and < 0)
            return ThreadRefused(refusal);
        try
        {
            var outcome = opened.Edit(edit());
            if (!outcome.Succeeded)
                return LastError.Set(Failure.Of(outcome, "the image was not changed"));
            done?.Invoke(outcome);
            return 0;
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "the image was not changed"));
        }
    }
}
