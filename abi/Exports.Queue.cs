using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Qcow2Blk.Embedding;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Abi;

/// <summary>qcow2blk_queue_*.</summary>
internal static unsafe partial class Exports
{
    [UnmanagedCallersOnly(EntryPoint = "managed_queue_create", CallConvs = [typeof(CallConvCdecl)])]
    private static int QueueCreate(nint* queue, uint depth, uint flags)
    {
        if (queue is null)
            return LastError.Missing();
        *queue = 0;
        if (flags != 0)
            return LastError.UnknownFlags();
        if (depth is 0 or > CompletionQueue.MaximumDepth)
            return LastError.Set(-Errno.EINVAL, "the depth of a queue is 1 to 65536"u8);
        try
        {
            return GiveHandle(new CompletionQueue((int)depth), queue);
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot make a queue"));
        }
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_queue_fd", CallConvs = [typeof(CallConvCdecl)])]
    private static int QueueFd(nint queue) => s_handles.Find<CompletionQueue>(queue)?.Watch() ?? LastError.NotAHandle();

    [UnmanagedCallersOnly(EntryPoint = "managed_queue_wait", CallConvs = [typeof(CallConvCdecl)])]
    private static int QueueWait(nint queue, Completion* completions, uint max, int timeout, uint flags)
    {
        if (s_handles.Find<CompletionQueue>(queue) is not { } found)
            return LastError.NotAHandle();
        if (completions is null)
            return LastError.Missing();
        if (flags != 0)
            return LastError.UnknownFlags();
        if (max == 0 || timeout < -1)
            return LastError.Set(-Errno.EINVAL, "max is 0, or the timeout below -1"u8);
        if (timeout != 0 && HostCallback.IsRunning)
            return WouldWait(-Errno.EDEADLK);
        try
        {
            var result = found.Wait(new Span<Completion>(completions, (int)Math.Min(max, CompletionQueue.MaximumDepth)), timeout);
            return result >= 0 ? result : result == -Errno.ESHUTDOWN
                ? LastError.Set(result, "the queue was closed"u8) : LastError.Set(result, Errno.Text(result));
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot wait for completions"));
        }
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_queue_close", CallConvs = [typeof(CallConvCdecl)])]
    private static int QueueClose(nint queue, uint flags)
    {
        if (flags != 0)
            return LastError.UnknownFlags();
        if (s_handles.Find<CompletionQueue>(queue) is not { } found)
            return LastError.NotAHandle();
        try
        {
            switch (found.Close())
            {
                case 0:
                    s_handles.Remove<CompletionQueue>(queue);
                    return 0;
                case -Errno.EBUSY:
                    return LastError.Set(-Errno.EBUSY, "requests that will end in the queue are in flight"u8);
                default:
                    return LastError.NotAHandle();
            }
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, "cannot close the queue"));
        }
    }
}
