using System;
using System.IO;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices.Server;

/// <summary>A server process's side of its start: options come on descriptor 3, readiness is told on descriptor 4.</summary>
internal static class StartPipe
{
    internal const int ReadyFd = 4;

    private const int OptionsFd = 3;

    /// <summary>Options are a few paths.</summary>
    private const int MaxOptionsBytes = 256 << 10;

    /// <exception cref="OutcomeException">nobody sent any</exception>
    internal static AttachOptions ReadOptions()
    {
        using var json = new MemoryStream();
        Span<byte> piece = stackalloc byte[4096];
        while (true)
        {
            var count = Unistd.Read(OptionsFd, piece);
            if (count < 0)
            {
                throw new OutcomeException(OutcomeKind.Invalid, "this verb is internal", $"cannot receive options: {Errno.Text(count)}",
                    "use \"qcow2blk attach\"");
            }

            if (count == 0)
                break;
            json.Write(piece[..count]);
            if (json.Length > MaxOptionsBytes)
                throw new OutcomeException(OutcomeKind.Invalid, "cannot read options", $"more than {MaxOptionsBytes} bytes");
        }

        _ = Unistd.Close(OptionsFd);
        return InheritedDescriptors.TakeKey(AttachOptionsJson.Read(json.GetBuffer().AsSpan(0, (int)json.Length)));
    }

    /// <summary>Lets go of what belongs to the starter: its standard error and its directory.</summary>
    internal static void LeaveTerminal()
    {
        _ = Unistd.Dup2(0, 2); // Descriptor 0 is /dev/null.
        _ = Unistd.ChangeDirectory("/");
    }
}
