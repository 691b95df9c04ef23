using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Qcow2Blk.Devices.Control;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Embedding;
using Qcow2Blk.Embedding.Devices;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Abi;

/// <summary>qcow2blk_device_*.</summary>
internal static unsafe partial class Exports
{
    private const uint AllowShrink = 1;
    private const uint Force = 1;
    private const uint NoFlags = 0;

    [UnmanagedCallersOnly(EntryPoint = "managed_device_attach", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceAttach(byte* path, nint options, nint* device, uint flags)
    {
        if (device is null)
            return LastError.Missing();
        *device = 0;
        if (path is null)
            return LastError.Missing();
        if (flags != 0)
            return LastError.UnknownFlags();
        if (HostCallback.IsRunning)
            return WouldWait(-Errno.EDEADLK);
        OpenSettings? settings = null;
        if (options != 0 && (settings = s_handles.Find<OpenSettings>(options)) is null)
            return LastError.NotAHandle();
        var name = Text.Of(path)!;
        try
        {
            var attached = EmbeddedDevice.Attach((settings ?? new OpenSettings()).OfDevice(name), HostLog.Instance);
            var error = GiveHandle(attached, device);
            if (error != 0)
                attached.Close();
            return error;
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, $"cannot attach {name}"));
        }
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_device_open", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceOpen(byte* target, nint* device, uint flags)
    {
        if (device is null)
            return LastError.Missing();
        *device = 0;
        if (target is null)
            return LastError.Missing();
        if (flags != 0)
            return LastError.UnknownFlags();
        var name = Text.Of(target)!;
        try
        {
            return GiveHandle(EmbeddedDevice.Find(name), device);
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, $"cannot open {name}"));
        }
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_device_name", CallConvs = [typeof(CallConvCdecl)])]
    private static nint DeviceName(nint device, byte* buffer, nuint size) => Tell(device, NoFlags, buffer, size, found => found.Name);

    [UnmanagedCallersOnly(EntryPoint = "managed_device_uri", CallConvs = [typeof(CallConvCdecl)])]
    private static nint DeviceUri(nint device, byte* buffer, nuint size) => Tell(device, NoFlags, buffer, size, found => found.Uri ?? "");

    [UnmanagedCallersOnly(EntryPoint = "managed_device_path", CallConvs = [typeof(CallConvCdecl)])]
    private static nint DevicePath(nint device, byte* buffer, nuint size) =>
        Tell(device, NoFlags, buffer, size, found => found.DevicePath ?? "");

    [UnmanagedCallersOnly(EntryPoint = "managed_device_status", CallConvs = [typeof(CallConvCdecl)])]
    private static nint DeviceStatus(nint device, byte* buffer, nuint size, uint flags) =>
        Tell(device, flags, buffer, size, found => found.Status());

    [UnmanagedCallersOnly(EntryPoint = "managed_device_state", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceState(nint device, uint flags)
    {
        if (s_handles.Find<EmbeddedDevice>(device) is not { } found)
            return LastError.NotAHandle();
        if (flags != 0)
            return LastError.UnknownFlags();
        try
        {
            return (int)found.State();
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.OfDevice(error, $"cannot tell the state of {found.Name}"));
        }
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_device_suspend", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceSuspend(nint device, int timeout, uint flags) =>
        Command(device, timeout, flags, NoFlags, (found, time) => found.Suspend(time));

    [UnmanagedCallersOnly(EntryPoint = "managed_device_resume", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceResume(nint device, int timeout, uint flags) => Command(
        device, timeout, flags, AllowShrink, (found, time) => found.Resume(time, allowShrink: (flags & AllowShrink) != 0));

    [UnmanagedCallersOnly(EntryPoint = "managed_device_detach", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceDetach(nint device, int timeout, uint flags) =>
        Command(device, timeout, flags, Force, (found, time) => found.Detach(time, force: (flags & Force) != 0));

    /// <summary>struct qcow2blk_device_event.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Event
    {
        public uint Size;
        public uint Kind;
        public int State;
        public int Value;
        public byte* Message;
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_device_set_event_callback", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceSetEventCallback(
        nint device, delegate* unmanaged[Cdecl]<void*, Event*, void> callback, void* userData, uint flags)
    {
        if (s_handles.Find<EmbeddedDevice>(device) is not { } found)
            return LastError.NotAHandle();
        if (flags != 0)
            return LastError.UnknownFlags();
        if (HostCallback.IsRunning)
            return WouldWait(-Errno.EDEADLK);
        try
        {
            var isSet = found.SetEvents(callback is null ? null : happened =>
            {
                var message = Marshal.StringToCoTaskMemUTF8(happened.Message);
                Event told = new()
                {
                    Size = (uint)sizeof(Event),
                    Kind = (uint)happened.Kind,
                    State = (int)happened.State,
                    Value = happened.Value,
                    Message = (byte*)message,
                };
                HostCallback.Enter();
                callback(userData, &told);
                HostCallback.Leave();
                Marshal.FreeCoTaskMem(message);
            });
            return isSet ? 0 : WouldWait(-Errno.EDEADLK);
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.OfDevice(error, $"cannot watch {found.Name}"));
        }
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_device_close", CallConvs = [typeof(CallConvCdecl)])]
    private static int DeviceClose(nint device, uint flags)
    {
        if (flags != 0)
            return LastError.UnknownFlags();
        if (s_handles.Find<EmbeddedDevice>(device) is null)
            return LastError.NotAHandle();
        if (HostCallback.IsRunning)
            return WouldWait(-Errno.EDEADLK);
        try
        {
            // Of several threads that close it one does.
            if (s_handles.Remove<EmbeddedDevice>(device) is not { } found)
                return LastError.NotAHandle();
            var result = found.Close();
            return result.Succeeded ? 0 : LastError.Set(Failure.OfDevice(result, $"cannot detach {found.Name}"));
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.OfDevice(error, "cannot close the device"));
        }
    }

    private static nint Tell(nint device, uint flags, byte* buffer, nuint size, Func<EmbeddedDevice, string> what)
    {
        if (s_handles.Find<EmbeddedDevice>(device) is not { } found)
            return LastError.NotAHandle();
        if (flags != 0)
            return LastError.UnknownFlags();
        try
        {
            return Text.Fill(what(found), buffer, size);
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.OfDevice(error, $"cannot describe {found.Name}"));
        }
    }

    private static int Command(nint device, int timeout, uint flags, uint known, Func<EmbeddedDevice, TimeSpan, Outcome> command)
    {
        if (s_handles.Find<EmbeddedDevice>(device) is not { } found)
            return LastError.NotAHandle();
        if ((flags & ~known) != 0)
            return LastError.UnknownFlags();
        if (timeout < -1)
            return LastError.Set(-Errno.EINVAL, "the timeout is below -1"u8);
        if (HostCallback.IsRunning)
            return WouldWait(-Errno.EDEADLK);
        try
        {
            var result = command(found, timeout == -1 ? ControlRequest.DefaultTimeout : TimeSpan.FromMilliseconds(timeout));
            return result.Succeeded ? 0 : LastError.Set(Failure.OfDevice(result, found.Name));
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.OfDevice(error, found.Name));
        }
    }
}
