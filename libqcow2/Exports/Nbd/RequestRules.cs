using System;
using Qcow2Blk.Image;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>What to do with a request, before anything of it was executed.</summary>
/// <param name="Error">0: execute it. Else the NBD error to reply (<see cref="NbdErrors"/>).</param>
/// <param name="PayloadLength">
/// Bytes that follow the header on the wire. With <paramref name="Error"/> 0 they are the data of the write (at most
/// <see cref="NbdProtocol.MaxRequestPayload"/>). <b>With an error they must be drained</b>: read and thrown away, before
/// the next header is read.
/// </param>
/// <param name="MustClose">
/// <b>The connection must be closed</b>, after the error reply if the transport allows: where the next header would
/// begin is not known, or too far away. Nothing may be read any more, and nothing drained.
/// </param>
internal readonly record struct RequestVerdict(uint Error, uint PayloadLength, bool MustClose);

/// <summary>
/// The rules that a request must keep in one session ("Request types", "Block size constraints", "Error values"). A value
/// made once per connection; <see cref="Validate"/> allocates nothing.
/// </summary>
internal readonly struct RequestRules
{
    private readonly TransmissionFlags _flags;
    private readonly uint _maximumBlockSize;
    private readonly uint _blockMask;
    private readonly ReplyMode _mode;
    private readonly bool _hasContexts;

    public RequestRules(NegotiatedSession session)
        : this(session.Export, session.ReplyMode, session.Contexts.Count > 0)
    {
    }

    internal RequestRules(ExportInfo export, ReplyMode mode, bool hasContexts)
    {
        _flags = export.FlagsFor(mode != ReplyMode.Simple);
        _maximumBlockSize = export.MaximumBlockSize;
        _blockMask = export.MinimumBlockSize - 1;
        _mode = mode;
        _hasContexts = hasContexts;
    }

    /// <summary>
    /// Judges a request. NBD_EINVAL for what is malformed, unknown, not advertised, not aligned, or reads past the end;
    /// NBD_EPERM for writing to a read-only export; NBD_ENOSPC for writing past the end (as the specification asks;
    /// qemu-nbd answers NBD_EINVAL there). A length of zero is no error and does nothing, except for block status, which
    /// cannot answer without an extent. NBD_CMD_DISC is always accepted: its fields are not looked at.
    /// </summary>
    /// <param name="request">the header as it came</param>
    /// <param name="size">bytes of the export now; may be more than the handshake told</param>
    public RequestVerdict Validate(in RequestHeader request, long size)
    {
        if (request.Command == NbdCommand.Disconnect)
            return default;

        var payload = PayloadOf(request);
        if (request.Command == NbdCommand.Write && _mode == ReplyMode.Extended && !request.Has(CommandFlags.PayloadLength))
            return new RequestVerdict(NbdErrors.Invalid, 0, MustClose: true); // a payload may follow or not: out of step
        if (payload > DrainLimit())
            return new RequestVerdict(NbdErrors.Invalid, 0, MustClose: true);

        var error = ErrorOf(request, (ulong)size);
        return new RequestVerdict(error, (uint)payload, MustClose: false);
    }

    private ulong PayloadOf(in RequestHeader request)
    {
        if (_mode == ReplyMode.Extended)
            return request.Has(CommandFlags.PayloadLength) ? request.Length : 0;
        return request.Command == NbdCommand.Write ? request.Length : 0;
    }

    // With extended headers the specification asks for a disconnect right above the limit.
    private uint DrainLimit() => _mode == ReplyMode.Extended ? NbdProtocol.MaxRequestPayload : NbdProtocol.MaxDrainedPayload;

    private uint ErrorOf(in RequestHeader request, ulong size)
    {
        var (flags, feature) = AllowedFor(request.Command);
        if (((CommandFlags)request.Flags & ~flags) != 0 || request.Type > (ushort)NbdCommand.BlockStatus)
            return NbdErrors.Invalid;
        if (IsWriting(request.Command) && (_flags & TransmissionFlags.ReadOnly) != 0)
            return NbdErrors.PermissionDenied;
        if ((_flags & feature) != feature)
            return NbdErrors.Invalid;

        return request.Command switch
        {
            NbdCommand.Flush => (request.Offset | request.Length) == 0 ? NbdErrors.Success : NbdErrors.Invalid,
            NbdCommand.BlockStatus when !_hasContexts || request.Length == 0 => NbdErrors.Invalid,
            NbdCommand.Read or NbdCommand.Write when request.Length > _maximumBlockSize => NbdErrors.Invalid,
            _ => RangeError(request, size),
        };
    }

    private uint RangeError(in RequestHeader request, ulong size)
    {
        if (((request.Offset | request.Length) & _blockMask) != 0)
            return NbdErrors.Invalid;
        if (request.Offset <= size && request.Length <= size - request.Offset)
            return NbdErrors.Success;
        return request.Command is NbdCommand.Write or NbdCommand.WriteZeroes ? NbdErrors.NoSpace : NbdErrors.Invalid;
    }

    /// <summary>The flags a command may carry, and the transmission flag that must have been advertised for it.</summary>
    /// <remarks>FUA is valid with every command once NBD_FLAG_SEND_FUA is advertised, and it always is.</remarks>
    private (CommandFlags Flags, TransmissionFlags Feature) AllowedFor(NbdCommand command) => command switch
    {
        NbdCommand.Read => (CommandFlags.Fua | (_mode == ReplyMode.Simple ? CommandFlags.None : CommandFlags.Df), TransmissionFlags.None),
        NbdCommand.Write =>
            (CommandFlags.Fua | (_mode == ReplyMode.Extended ? CommandFlags.PayloadLength : CommandFlags.None), TransmissionFlags.None),
        NbdCommand.Flush => (CommandFlags.Fua, TransmissionFlags.SendFlush),
        NbdCommand.Trim => (CommandFlags.Fua, TransmissionFlags.SendTrim),
        NbdCommand.Cache => (CommandFlags.Fua, TransmissionFlags.SendCache),
        NbdCommand.WriteZeroes => (ZeroFlags(), TransmissionFlags.SendWriteZeroes),
        NbdCommand.BlockStatus => (CommandFlags.Fua | CommandFlags.RequestOne, TransmissionFlags.None),
        _ => (CommandFlags.None, TransmissionFlags.None),
    };

    private CommandFlags ZeroFlags() =>
        (_flags & TransmissionFlags.SendFastZero) != 0
            ? CommandFlags.Fua | CommandFlags.NoHole | CommandFlags.FastZero
            : CommandFlags.Fua | CommandFlags.NoHole;

    private static bool IsWriting(NbdCommand command) =>
        command is NbdCommand.Write or NbdCommand.Trim or NbdCommand.WriteZeroes;
}
