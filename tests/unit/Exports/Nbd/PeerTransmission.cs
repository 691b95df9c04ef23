using System;
using System.Linq;
using System.Net.Sockets;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Tests.Exports.Nbd;

/// <summary>Answers the requests of one client of <see cref="PeerServer"/>, one after the other.</summary>
internal sealed class PeerTransmission(Socket client, NegotiatedSession session, byte[] disk, byte[] early)
{
    private readonly RequestRules _rules = new(session);
    private readonly byte[] _reply = new byte[4096 + ReplyEncoder.MaxFixedReply];
    private int _earlyUsed;

    private ReplyMode Mode => session.ReplyMode;

    public void Run()
    {
        var bytes = new byte[RequestHeader.SizeOf(session.ExtendedHeaders)];
        while (Receive(bytes))
        {
            if (!RequestHeader.TryParse(bytes, session.ExtendedHeaders, out var request, out _))
                return;
            if (request.Command == NbdCommand.Disconnect || !Answer(request))
                return;
        }
    }

    private bool Answer(in RequestHeader request)
    {
        var verdict = _rules.Validate(request, disk.Length);
        if (verdict.MustClose)
            return false;
        var payload = new byte[verdict.PayloadLength];
        if (!Receive(payload))
            return false;
        if (verdict.Error != 0)
            Send(ReplyEncoder.WriteCompletion(_reply, Mode, request, verdict.Error, "refused"u8));
        else if (request.Command == NbdCommand.Read && request.Length > 0)
            AnswerRead(request);
        else if (request.Command == NbdCommand.BlockStatus)
            AnswerBlockStatus(request);
        else
            Send(ReplyEncoder.WriteCompletion(_reply, Mode, request, Execute(request, payload)));
        return true;
    }

    private uint Execute(in RequestHeader request, byte[] payload)
    {
        if (request.Command == NbdCommand.WriteZeroes && request.Has(CommandFlags.FastZero))
            return NbdErrors.FromErrno(-95);
        if (request.Command == NbdCommand.Write)
            payload.CopyTo(disk.AsSpan((int)request.Offset));
        if (request.Command is NbdCommand.WriteZeroes or NbdCommand.Trim)
            disk.AsSpan((int)request.Offset, (int)request.Length).Clear();
        return 0;
    }

    private void AnswerRead(in RequestHeader request)
    {
        var (start, end) = ((int)request.Offset, (int)(request.Offset + request.Length));
        if (start < PeerServer.BadSector + 512 && end > PeerServer.BadSector)
        {
            Send(ReplyEncoder.WriteCompletion(_reply, Mode, request, NbdErrors.FromErrno(-5), Wire.Text(PeerServer.BadSectorText)));
        }
        else if (Mode == ReplyMode.Simple || request.Has(CommandFlags.Df))
        {
            Send(ReplyEncoder.WriteReadHeader(_reply, Mode, request));
            client.Send(disk, start, end - start, SocketFlags.None);
        }
        else
        {
            AnswerInPieces(request, start, end);
        }
    }

    private void AnswerInPieces(in RequestHeader request, int start, int end)
    {
        foreach (var piece in PeerServer.Pieces.Where(piece => piece.Start < end && piece.End > start))
        {
            var (from, to) = (Math.Max(start, piece.Start), Math.Min(end, piece.End));
            if ((piece.State & AllocationState.Zero) != 0 && disk.AsSpan(from, to - from).IndexOfAnyExcept((byte)0) < 0)
            {
                Send(ReplyEncoder.WriteOffsetHole(_reply, Mode, request, (ulong)from, (uint)(to - from), done: false));
                continue;
            }

            Send(ReplyEncoder.WriteOffsetData(_reply, Mode, request, (ulong)from, (uint)(to - from), done: false));
            client.Send(disk, from, to - from, SocketFlags.None);
        }

        Send(ReplyEncoder.WriteNone(_reply, Mode, request));
    }

    private void AnswerBlockStatus(in RequestHeader request)
    {
        for (var i = 0; i < session.Contexts.Count; i++)
        {
            var context = session.Contexts[i];
            var status = new BlockStatusEncoder(_reply, Mode, request, context.Id, done: i == session.Contexts.Count - 1);
            var offset = (int)request.Offset;
            foreach (var piece in PeerServer.Pieces)
            {
                if (piece.End <= offset)
                    continue;
                var flags = context.Kind == MetaContextKind.BaseAllocation ? (uint)piece.State : piece.Depth;
                if (!status.Add((ulong)(piece.End - Math.Max(offset, piece.Start)), flags))
                    break;
            }

            Send(status.Finish());
        }
    }

    private void Send(int length) => client.Send(_reply, 0, length, SocketFlags.None);

    private bool Receive(byte[] target)
    {
        var filled = Math.Min(target.Length, early.Length - _earlyUsed);
        early.AsSpan(_earlyUsed, filled).CopyTo(target);
        _earlyUsed += filled;
        while (filled < target.Length)
        {
            var received = client.Receive(target, filled, target.Length - filled, SocketFlags.None);
            if (received == 0)
                return false;
            filled += received;
        }

        return true;
    }
}
