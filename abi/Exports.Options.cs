using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Qcow2Blk.Embedding;
using Qcow2Blk.Format;

namespace Qcow2Blk.Abi;

/// <summary>qcow2blk_options_*.</summary>
internal static unsafe partial class Exports
{
    [UnmanagedCallersOnly(EntryPoint = "managed_options_create", CallConvs = [typeof(CallConvCdecl)])]
    private static int OptionsCreate(nint* options, uint flags)
    {
        if (options is null)
            return LastError.Missing();
        *options = 0;
        if (flags != 0)
            return LastError.UnknownFlags();
        try
        {
            return GiveHandle(new OpenSettings(), options);
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot make options"));
        }
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_options_set", CallConvs = [typeof(CallConvCdecl)])]
    private static int OptionsSet(nint options, byte* name, byte* value, uint flags)
    {
        if (s_handles.Find<OpenSettings>(options) is not { } settings)
            return LastError.NotAHandle();
        if (name is null || value is null)
            return LastError.Missing();
        if (flags != 0)
            return LastError.UnknownFlags();
        try
        {
            settings.Set(Text.Of(name)!, Text.Of(value)!);
            return 0;
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot set an option"));
        }
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_options_add_fd", CallConvs = [typeof(CallConvCdecl)])]
    private static int OptionsAddFd(nint options, int fd, uint flags)
    {
        if (s_handles.Find<OpenSettings>(options) is not { } settings)
            return LastError.NotAHandle();
        if (flags != 0)
            return LastError.UnknownFlags();
        try
        {
            var error = settings.AddFile(fd);
            return error == 0 ? 0 : LastError.Set(error, $"cannot use descriptor {fd}: {Interop.Errno.Text(error)}");
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, $"cannot use descriptor {fd}"));
        }
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_options_set_key", CallConvs = [typeof(CallConvCdecl)])]
    private static int OptionsSetKey(nint options, byte* key, nuint length, uint flags)
    {
        if (s_handles.Find<OpenSettings>(options) is not { } settings)
            return LastError.NotAHandle();
        if (key is null)
            return LastError.Missing();
        if (flags != 0)
            return LastError.UnknownFlags();
        if (length is 0 or > Limits.MaxKeyBytes)
            return LastError.Set(-Interop.Errno.EINVAL, "a key has 1 byte to 8 MiB"u8);
        try
        {
            settings.SetKey(new ReadOnlySpan<byte>(key, (int)length));
            return 0;
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot keep a key"));
        }
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_options_close", CallConvs = [typeof(CallConvCdecl)])]
    private static int OptionsClose(nint options, uint flags)
    {
        if (flags != 0)
            return LastError.UnknownFlags();
        try
        {
            if (s_handles.Remove<OpenSettings>(options) is not { } settings)
                return LastError.NotAHandle();
            settings.Close();
            return 0;
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot close options"));
        }
    }
}
