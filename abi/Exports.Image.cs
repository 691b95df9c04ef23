using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Qcow2Blk.Embedding;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Abi;

/// <summary>qcow2blk_image_*: the life of an image, and what is to be known of it.</summary>
internal static unsafe partial class Exports
{
    private const uint OpenReadOnly = 1;
    private const uint OpenCallerLoop = 2;

    [UnmanagedCallersOnly(EntryPoint = "managed_image_open", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageOpen(byte* path, nint options, nint* image, uint flags)
    {
        if (image is null)
            return LastError.Missing();
        *image = 0;
        if ((flags & ~(OpenReadOnly | OpenCallerLoop)) != 0)
            return LastError.UnknownFlags();
        if (HostCallback.IsRunning)
            return WouldWait(-Errno.EDEADLK);
        OpenSettings? settings = null;
        if (options != 0 && (settings = s_handles.Find<OpenSettings>(options)) is null)
            return LastError.NotAHandle();
        var name = Text.Of(path);
        try
        {
            settings ??= new OpenSettings();
            var opened = OpenImage.Open(
                settings.OfImage(name, (flags & OpenReadOnly) != 0), settings.Files, (flags & OpenCallerLoop) != 0, HostLog.Instance);
            var error = GiveHandle(opened, image);
            if (error != 0)
                opened.Close();
            return error;
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, $"cannot open {name ?? "the image"}"));
        }
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_image_close", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageClose(nint image, uint flags)
    {
        if (flags != 0)
            return LastError.UnknownFlags();
        if (s_handles.Find<OpenImage>(image) is not { } opened)
            return LastError.NotAHandle();
        if (opened.CheckThread(waits: true) is var refusal and < 0)
            return ThreadRefused(refusal);
        try
        {
            // Of several threads that close it one does.
            if (s_handles.Remove<OpenImage>(image) is null)
                return LastError.NotAHandle();
            var error = opened.Close();
            return error == 0 ? 0 : LastError.Set(
                error, $"the image was not closed cleanly, what was written since the last flush may be lost: {Errno.Text(error)}");
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot close the image"));
        }
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_image_size", CallConvs = [typeof(CallConvCdecl)])]
    private static long ImageSize(nint image) => s_handles.Find<OpenImage>(image)?.Size ?? LastError.NotAHandle();

    [UnmanagedCallersOnly(EntryPoint = "managed_image_cluster_size", CallConvs = [typeof(CallConvCdecl)])]
    private static long ImageClusterSize(nint image) => s_handles.Find<OpenImage>(image)?.ClusterBytes ?? LastError.NotAHandle();

    [UnmanagedCallersOnly(EntryPoint = "managed_image_is_read_only", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageIsReadOnly(nint image) =>
        s_handles.Find<OpenImage>(image) is { } opened ? opened.ReadOnly ? 1 : 0 : LastError.NotAHandle();

    [UnmanagedCallersOnly(EntryPoint = "managed_image_format_version", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageFormatVersion(nint image) => s_handles.Find<OpenImage>(image)?.FormatVersion ?? LastError.NotAHandle();

    [UnmanagedCallersOnly(EntryPoint = "managed_image_backing_file", CallConvs = [typeof(CallConvCdecl)])]
    private static nint ImageBackingFile(nint image, byte* buffer, nuint size)
    {
        try
        {
            return s_handles.Find<OpenImage>(image) is { } opened
                ? Text.Fill(opened.BackingFile ?? "", buffer, size) : LastError.NotAHandle();
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot tell the backing file"));
        }
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_image_info", CallConvs = [typeof(CallConvCdecl)])]
    private static nint ImageInfo(nint image, byte* buffer, nuint size, uint flags)
    {
        if (s_handles.Find<OpenImage>(image) is not { } opened)
            return LastError.NotAHandle();
        if (flags != 0)
            return LastError.UnknownFlags();
        try
        {
            return opened.CheckThread(waits: true) is var refusal and < 0
                ? ThreadRefused(refusal) : Text.Fill(opened.Info().Span, buffer, size);
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot describe the image"));
        }
    }

    /// <summary>struct qcow2blk_snapshot.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Snapshot
    {
        public uint Size;
        public uint DateNanoseconds;
        public byte* Id;
        public byte* Name;
        public long DateSeconds;
        public ulong VmClock;
        public ulong VmStateSize;
        public ulong DiskSize;
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_image_list_snapshots", CallConvs = [typeof(CallConvCdecl)])]
    private static int ImageListSnapshots(
        nint image, delegate* unmanaged[Cdecl]<void*, Snapshot*, int> callback, void* userData, uint flags)
    {
        if (s_handles.Find<OpenImage>(image) is not { } opened)
            return LastError.NotAHandle();
        if (callback is null)
            return LastError.Missing();
        if (flags != 0)
            return LastError.UnknownFlags();
        if (opened.CheckThread(waits: true) is var refusal and < 0)
            return ThreadRefused(refusal);
        try
        {
            var outcome = opened.ListSnapshots(out var snapshots);
            return outcome.Succeeded ? TellSnapshots(snapshots, callback, userData)
                : LastError.Set(Failure.Of(outcome, "cannot list the snapshots"));
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot list the snapshots"));
        }
    }

    private static int ThreadRefused(int error) => error == -Errno.EPERM
        ? LastError.Set(error, "an image without a thread of its own belongs to the thread that opened it"u8)
        : WouldWait(error);
}
