using System;
using System.Collections.Generic;
using System.Diagnostics.CodeAnalysis;
using System.Numerics;
using System.Text;
using Qcow2Blk.Protocol;

namespace Qcow2Blk.Exports.Nbd;

/// <summary>What a client is told about an export. Checked when made, so that it can always be sent.</summary>
/// <exception cref="ArgumentException">a value that the protocol cannot carry</exception>
internal sealed record ExportInfo
{
    private readonly string _name = "";
    private readonly string _description = "";
    private readonly long _size;
    private readonly uint _minimumBlockSize = 1;
    private readonly uint _preferredBlockSize = 65536;
    private readonly uint _maximumBlockSize = NbdProtocol.MaxRequestPayload;

    /// <summary>The canonical name; at most <see cref="NbdProtocol.MaxNameLength"/> bytes of UTF-8, without NUL.</summary>
    public required string Name
    {
        get => _name;
        init => _name = Checked(nameof(Name), value);
    }

    /// <summary>A line for people; may be empty. Limited as <see cref="Name"/> is.</summary>
    public string Description
    {
        get => _description;
        init => _description = Checked(nameof(Description), value);
    }

    /// <summary>Bytes of the virtual disk.</summary>
    public required long Size
    {
        get => _size;
        init
        {
            ArgumentOutOfRangeException.ThrowIfNegative(value, nameof(Size));
            _size = value;
        }
    }

    public bool ReadOnly { get; init; }

    /// <summary>A flush on one connection covers the writes that completed on all others.</summary>
    public bool MultiConnection { get; init; }

    public bool CanTrim { get; init; }

    public bool CanZero { get; init; }

    /// <summary>NBD_CMD_FLAG_FAST_ZERO is understood; only told together with <see cref="CanZero"/>.</summary>
    public bool CanFastZero { get; init; }

    public bool CanCache { get; init; }

    public bool Rotational { get; init; }

    /// <summary>The bitmaps that clients may look at, at most <see cref="NbdProtocol.MaxBitmaps"/>.</summary>
    public IReadOnlyList<string> Bitmaps { get; init; } = [];

    /// <summary>Bytes that every offset and length must be a multiple of: a power of two up to 65536; usually 1.</summary>
    public uint MinimumBlockSize
    {
        get => _minimumBlockSize;
        init => _minimumBlockSize = BitOperations.IsPow2(value) && value <= NbdProtocol.LargestMinimumBlockSize
            ? value
            : throw new ArgumentException($"minimum block size {value} is not a power of two up to 65536");
    }

    /// <summary>Bytes that requests should be a multiple of to be fast: a power of two, at least 512.</summary>
    public uint PreferredBlockSize
    {
        get => _preferredBlockSize;
        init => _preferredBlockSize = BitOperations.IsPow2(value) && value >= 512
            ? value
            : throw new ArgumentException($"preferred block size {value} is not a power of two of at least 512");
    }

    /// <summary>The longest read or write, at most <see cref="NbdProtocol.MaxRequestPayload"/>.</summary>
    public uint MaximumBlockSize
    {
        get => _maximumBlockSize;
        init => _maximumBlockSize = value is >= NbdProtocol.LargestMinimumBlockSize and <= NbdProtocol.MaxRequestPayload
                                    && value % NbdProtocol.LargestMinimumBlockSize == 0
            ? value
            : throw new ArgumentException($"maximum block size {value} is not a multiple of 65536 up to 32 MiB");
    }

    /// <summary>The transmission flags of this export.</summary>
    /// <param name="structuredReplies">structured replies or extended headers were negotiated: NBD_CMD_FLAG_DF exists only then</param>
    public TransmissionFlags FlagsFor(bool structuredReplies)
    {
        var flags = TransmissionFlags.HasFlags | TransmissionFlags.SendFlush | TransmissionFlags.SendFua;
        if (Rotational)
            flags |= TransmissionFlags.Rotational;
        if (MultiConnection)
            flags |= TransmissionFlags.CanMultiConnection;
        if (CanCache)
            flags |= TransmissionFlags.SendCache;
        if (structuredReplies)
            flags |= TransmissionFlags.SendDf;
        return flags | (ReadOnly ? TransmissionFlags.ReadOnly : WritingFlags());
    }

    private TransmissionFlags WritingFlags()
    {
        var flags = CanTrim ? TransmissionFlags.SendTrim : TransmissionFlags.None;
        if (CanZero)
            flags |= TransmissionFlags.SendWriteZeroes;
        if (CanZero && CanFastZero)
            flags |= TransmissionFlags.SendFastZero;
        return flags;
    }

    private static string Checked(string field, string value)
    {
        ArgumentNullException.ThrowIfNull(value, field);
        if (value.Contains('\0', StringComparison.Ordinal))
            throw new ArgumentException($"{field} contains a NUL character");
        var length = Encoding.UTF8.GetByteCount(value);
        return length <= NbdProtocol.MaxNameLength
            ? value
            : throw new ArgumentException($"{field} is {length} bytes long, the limit is {NbdProtocol.MaxNameLength}");
    }
}

/// <summary>The exports of a server. Called on the connection's thread during the handshake.</summary>
internal interface IExportCatalog
{
    /// <summary>The exports that a client may see, in the order they are listed.</summary>
    IReadOnlyList<ExportInfo> List();

    /// <summary>Finds an export by name; the empty name stands for the default export, if there is one.</summary>
    bool TryFind(string name, [NotNullWhen(true)] out ExportInfo? export);
}
