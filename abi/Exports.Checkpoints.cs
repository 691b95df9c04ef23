using System;
using System.Collections.Generic;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Qcow2Blk.Embedding;
using Qcow2Blk.Embedding.Devices;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Abi;

/// <summary>Checkpoints of images and of devices.</summary>
internal static unsafe partial class Exports
{
    /// <summary>struct qcow2blk_checkpoint.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Checkpoint
    {
        public uint Size;
        public uint Flags;
        public byte* Name;
        public byte* SnapshotId;
        public long DateSeconds;
        public uint DateNanoseconds;
        public uint Reserved;
        public ulong Granularity;
        public long DirtyBytes;
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_image_create_checkpoint", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageCreateCheckpoint(nint image, byte* name, ulong granularity, uint flags) =>
        EditImage(image, flags, NoFlags, name, of => ImageEditRequests.CreateCheckpoint(of, granularity));

    [UnmanagedCallersOnly(EntryPoint = "managed_image_delete_checkpoint", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageDeleteCheckpoint(nint image, byte* name, uint flags) =>
        EditImage(image, flags, NoFlags, name, ImageEditRequests.DeleteCheckpoint);

    [UnmanagedCallersOnly(EntryPoint = "managed_image_list_checkpoints", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageListCheckpoints(
        nint image, delegate* unmanaged[Cdecl]<void*, Checkpoint*, int> callback, void* userData, uint flags)
    {
        if (callback is null)
            return LastError.Missing();
        string? json = null;
        var error = EditImage(image, flags, NoFlags, ImageEditRequests.ListCheckpoints, outcome => json = outcome.Json);
        return error < 0 ? error : TellCheckpoints(json, callback, userData);
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_devices_create_checkpoint", CallConvs = [typeof(CallConvCdecl)])]
    private static int DevicesCreateCheckpoint(nint* devices, nuint count, byte* name, ulong granularity, int timeout, uint flags)
    {
        if (devices is null || name is null)
            return LastError.Missing();
        if (count == 0)
            return LastError.Set(-Errno.EINVAL, "there is no device in the array"u8);
        var found = new List<EmbeddedDevice>();
        for (nuint i = 0; i < count; i++)
        {
            if (s_handles.Find<EmbeddedDevice>(devices[i]) is not { } device)
                return LastError.NotAHandle();
            found.Add(device);
        }

        var of = Text.Of(name)!;
        return Command(devices[0], timeout, flags, NoFlags, (_, time) => EmbeddedDevices.Edit(
            found, ImageEditRequests.CreateCheckpoint(of, granularity), ImageEditRequests.DeleteCheckpoint(of), time));
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_device_delete_checkpoint", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceDeleteCheckpoint(nint device, byte* name, int timeout, uint flags) =>
        EditDevice(device, timeout, flags, NoFlags, name, ImageEditRequests.DeleteCheckpoint);

    [UnmanagedCallersOnly(EntryPoint = "managed_device_list_checkpoints", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceListCheckpoints(
        nint device, delegate* unmanaged[Cdecl]<void*, Checkpoint*, int> callback, void* userData, int timeout, uint flags)
    {
        if (callback is null)
            return LastError.Missing();
        string? json = null;
        var error = EditDevice(device, timeout, flags, NoFlags, ImageEditRequests.ListCheckpoints, outcome => json = outcome.Json);
        return error < 0 ? error : TellCheckpoints(json, callback, userData);
    }

    private static int TellCheckpoints(string? json, delegate* unmanaged[Cdecl]<void*, Checkpoint*, int> callback, void* userData)
    {
        IReadOnlyList<ListedCheckpoint> checkpoints;
        try
        {
            checkpoints = EditLists.Checkpoints(json);
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot list the checkpoints"));
        }

        foreach (var entry in checkpoints)
        {
            var name = Marshal.StringToCoTaskMemUTF8(entry.Name);
            var id = Marshal.StringToCoTaskMemUTF8(entry.SnapshotId);
            Checkpoint checkpoint = new()
            {
                Size = (uint)sizeof(Checkpoint),
                Flags = (uint)entry.Traits,
                Name = (byte*)name,
                SnapshotId = (byte*)id,
                DateSeconds = entry.DateSeconds,
                DateNanoseconds = entry.DateNanoseconds,
                Granularity = entry.Granularity,
                DirtyBytes = entry.DirtyBytes ?? -1,
            };
            var result = callback(userData, &checkpoint);
            Marshal.FreeCoTaskMem(name);
            Marshal.FreeCoTaskMem(id);
            if (result != 0)
                return result;
        }

        return 0;
    }
}
