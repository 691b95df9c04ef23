using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Qcow2Blk.Devices.Edits;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Embedding;
using Qcow2Blk.Embedding.Devices;

namespace Qcow2Blk.Abi;

/// <summary>Snapshots and bitmaps of a device, by its server.</summary>
internal static unsafe partial class Exports
{
    [UnmanagedCallersOnly(EntryPoint = "managed_device_list_snapshots", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceListSnapshots(
        nint device, delegate* unmanaged[Cdecl]<void*, Snapshot*, int> callback, void* userData, int timeout, uint flags)
    {
        if (callback is null)
            return LastError.Missing();
        string? json = null;
        var error = EditDevice(device, timeout, flags, NoFlags, ImageEditRequests.ListSnapshots, outcome => json = outcome.Json);
        if (error < 0)
            return error;
        IReadOnlyList<ListedSnapshot> snapshots;
        try
        {
            snapshots = EditLists.Snapshots(json);
        }
        catch (Exception failure)
        {
            return LastError.Set(Failure.OfDevice(failure, "cannot list the snapshots"));
        }

        return TellSnapshots(snapshots, callback, userData);
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_device_create_snapshot", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceCreateSnapshot(nint device, byte* name, byte* id, nuint size, int timeout, uint flags) => EditDevice(
        device, timeout, flags, NoFlags, name, ImageEditRequests.CreateSnapshot, outcome => FillId(outcome, id, size));

    [UnmanagedCallersOnly(EntryPoint = "managed_device_delete_snapshot", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceDeleteSnapshot(nint device, byte* snapshot, int timeout, uint flags) =>
        EditDevice(device, timeout, flags, NoFlags, snapshot, ImageEditRequests.DeleteSnapshot);

    [UnmanagedCallersOnly(EntryPoint = "managed_device_revert_snapshot", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceRevertSnapshot(nint device, byte* snapshot, int timeout, uint flags) => EditDevice(device, timeout, flags,
        Force, snapshot, which => ImageEditRequests.RevertSnapshot(which, force: (flags & Force) != 0));

    // Where shrinking is allowed, users that would lose the end have to be named too.
    private const uint ForceShrink = 2;

    [UnmanagedCallersOnly(EntryPoint = "managed_device_resize", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceResize(nint device, ulong size, int timeout, uint flags) => EditDevice(device, timeout, flags,
        AllowShrink | ForceShrink, () => ImageEditRequests.Resize(size, (flags & AllowShrink) != 0, (flags & ForceShrink) != 0));

    [UnmanagedCallersOnly(EntryPoint = "managed_device_list_bitmaps", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceListBitmaps(
        nint device, delegate* unmanaged[Cdecl]<void*, Bitmap*, int> callback, void* userData, int timeout, uint flags)
    {
        if (callback is null)
            return LastError.Missing();
        string? json = null;
        var error = EditDevice(device, timeout, flags, NoFlags, ImageEditRequests.ListBitmaps, outcome => json = outcome.Json);
        return error < 0 ? error : TellBitmaps(json, callback, userData);
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_device_add_bitmap", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceAddBitmap(nint device, byte* name, ulong granularity, int timeout, uint flags) => EditDevice(device, timeout,
        flags, BitmapDisabled, name, of => ImageEditRequests.AddBitmap(of, granularity, (flags & BitmapDisabled) != 0));

    [UnmanagedCallersOnly(EntryPoint = "managed_device_remove_bitmap", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceRemoveBitmap(nint device, byte* name, int timeout, uint flags) =>
        EditDevice(device, timeout, flags, NoFlags, name, ImageEditRequests.RemoveBitmap);

    [UnmanagedCallersOnly(EntryPoint = "managed_device_clear_bitmap", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceClearBitmap(nint device, byte* name, int timeout, uint flags) =>
        EditDevice(device, timeout, flags, NoFlags, name, ImageEditRequests.ClearBitmap);

    [UnmanagedCallersOnly(EntryPoint = "managed_device_enable_bitmap", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceEnableBitmap(nint device, byte* name, int timeout, uint flags) =>
        EditDevice(device, timeout, flags, NoFlags, name, ImageEditRequests.EnableBitmap);

    [UnmanagedCallersOnly(EntryPoint = "managed_device_disable_bitmap", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceDisableBitmap(nint device, byte* name, int timeout, uint flags) =>
        EditDevice(device, timeout, flags, NoFlags, name, ImageEditRequests.DisableBitmap);

    [UnmanagedCallersOnly(EntryPoint = "managed_device_merge_bitmap", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceMergeBitmap(nint device, byte* name, byte* from, int timeout, uint flags)
    {
        if (from is null)
            return LastError.Missing();
        return EditDevice(device, timeout, flags, NoFlags, name, of => ImageEditRequests.MergeBitmap(of, Text.Of(from)!));
    }

    private static int EditDevice(nint device, int timeout, uint flags, uint known, byte* name, Func<string, ImageEdit> edit,
        Action<Outcome>? done = null)
    {
        if (s_handles.Find<EmbeddedDevice>(device) is null)
            return LastError.NotAHandle();
        return name is null ? LastError.Missing() : EditDevice(device, timeout, flags, known, () => edit(Text.Of(name)!), done);
    }

    private static int EditDevice(
        nint device, int timeout, uint flags, uint known, Func<ImageEdit> edit, Action<Outcome>? done = null) =>
        Command(device, timeout, flags, known, (found, time) =>
        {
            var outcome = found.Edit(edit(), time);
            if (outcome.Succeeded)
                done?.Invoke(outcome);
            return outcome;
        });
}
