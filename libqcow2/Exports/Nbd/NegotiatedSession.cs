using System;
using System.Collections.Generic;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>The metadata contexts that exist here.</summary>
internal enum MetaContextKind
{
    /// <summary>"base:allocation": flags <see cref="AllocationState"/>.</summary>
    BaseAllocation = 0,

    /// <summary>"qemu:allocation-depth": 0 unallocated, 1 in the image itself, 2 and more in its backing files.</summary>
    QemuAllocationDepth = 1,

    /// <summary>
    /// "qemu:dirty-bitmap:NAME": flag 1 where something was written since the bitmap records. The first of the export's bitmaps; the
    /// others have the numbers that follow.
    /// </summary>
    QemuDirtyBitmap = 2,
}

/// <summary>A metadata context that the client selected, and the number that names it in replies.</summary>
internal readonly record struct NegotiatedContext(uint Id, MetaContextKind Kind)
{
    /// <summary>The bitmap's name; null for a context of another kind.</summary>
    public string? Bitmap { get; init; }
}

/// <summary>What a handshake led to. Immutable.</summary>
internal sealed class NegotiatedSession
{
    internal NegotiatedSession(ExportInfo export, ReplyMode replyMode, NegotiatedContext[] contexts, bool blockSizesRequested)
    {
        Export = export;
        ReplyMode = replyMode;
        Contexts = contexts;
        BlockSizesRequested = blockSizesRequested;
    }

    /// <summary>The export as it was told to the client. Its size may have grown since.</summary>
    public ExportInfo Export { get; }

    public ReplyMode ReplyMode { get; }

    /// <summary>Replies to reads must be chunks. Also true with extended headers.</summary>
    public bool StructuredReplies => ReplyMode != ReplyMode.Simple;

    /// <summary>Requests and replies have 32-byte headers.</summary>
    public bool ExtendedHeaders => ReplyMode == ReplyMode.Extended;

    /// <summary>At most <see cref="NbdProtocol.MaxContexts"/>; NBD_CMD_BLOCK_STATUS is refused if there are none.</summary>
    public IReadOnlyList<NegotiatedContext> Contexts { get; }

    /// <summary>The client asked for NBD_INFO_BLOCK_SIZE with NBD_OPT_GO, and so promised to keep to it.</summary>
    public bool BlockSizesRequested { get; }

    /// <summary>The transmission flags as the client knows them.</summary>
    public TransmissionFlags Flags => Export.FlagsFor(StructuredReplies);
}
