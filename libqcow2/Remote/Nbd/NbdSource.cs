using System;
using System.Collections.Generic;
using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Remote.Nbd;

/// <summary>
/// An export of an NBD server. NBD knows no versions: what was opened is told from another only by its size, the names that the
/// server gives it, and the root of a manifest, if there is one.
/// </summary>
/// <remarks>
/// A connection that ends is replaced at the next call. If the server allows several, more are opened while the others are busy.
/// </remarks>
internal sealed partial class NbdSource : IRemoteSource
{
    private const int UsualDepth = 16, MostConnections = 4;

    /// <summary>Reads of a connection from which on another one is worth it.</summary>
    private const int BusyReads = 4;

    private readonly NbdAddress _address;
    private readonly string? _version;
    private readonly TlsTrust? _trust;
    private readonly Action<string> _report;
    private readonly NbdTimes _times;
    private readonly List<NbdClientConnection> _open = [];
    private readonly HashSet<NbdClientConnection> _alive = [];
    private readonly WaitQueue _connected = new();
    private readonly WaitQueue _room = new();
    private readonly WaitQueue _gone = new();
    private EventLoop? _loop;
    private NameLookup? _lookup;
    private RemoteExport? _export;
    private FetchResult? _final;
    private FetchResult _lastConnect;
    private bool _isConnecting;
    private bool _isClosed;
    private bool _hasEnough;

    private NbdSource(NbdAddress address, string name, string? version, TlsTrust? trust, NbdTimes times, Action<string> report) =>
        (_address, Name, _version, _trust, _times, _report) = (address, name, version, trust, times, report);

    public string Name { get; }

    public int Depth => UsualDepth;

    public SourceIdentity? Identity { get; private set; }

    /// <summary>Connections that can be asked for something.</summary>
    internal int Connections => _open.Count;

    /// <summary>Makes a source; nothing is connected yet.</summary>
    /// <param name="location">a URL of NBD</param>
    /// <param name="settings">of these, the root of the manifest and the authorities of certificates concern it</param>
    /// <param name="report">told what is worth knowing and is not a failure</param>
    /// <param name="source">the source</param>
    /// <returns>null, or why there is none</returns>
    public static string? Create(RemoteLocation location, RemoteSettings settings, Action<string> report, out NbdSource? source) =>
        Create(location, settings, NbdTimes.Usual, report, out source);

    /// <summary>As the other, with a clock of its own.</summary>
    internal static string? Create(
        RemoteLocation location, RemoteSettings settings, NbdTimes times, Action<string> report, out NbdSource? source)
    {
        source = null;
        if (NbdAddress.Parse(location, out var address) is { } wrong)
            return wrong;
        TlsTrust? trust = null;
        if (address!.IsTls && TlsTrust.Create(address.Host!, settings.CertificateAuthorities, address.Certificates, out trust) is { } why)
            return why;
        var version = settings.Root is { } root ? "sha256:" + root.ToLowerInvariant() : null;
        source = new NbdSource(address, location.Name, version, trust, times, report);

        // A manifest knows all zeroes, and is not told what is not so.
        source._asksForHoles = version is null;
        return null;
    }

    public async LoopTask<FetchResult> OpenAsync(SourceIdentity? expected)
    {
        var result = await EnsureAsync();
        if (!result.IsDone)
            return result;
        // What is not known of it, here or there, cannot differ.
        if (expected is { } wanted && (wanted.Length != Identity!.Value.Length
            || (wanted.Version is not null && _version is not null && wanted.Version != _version)))
        {
            return End(new FetchResult(FetchStatus.Changed,
                $"{Name} has {Identity.Value.Length} bytes{VersionText(_version)}, not {wanted.Length}{VersionText(wanted.Version)}"));
        }

        return result;
    }

    public async LoopTask<FetchResult> ReadAsync(long offset, NativeBuffer buffer)
    {
        var result = await EnsureAsync();
        if (!result.IsDone)
            return result;
        Invariant.Holds(offset >= 0 && !buffer.IsEmpty && offset <= _export!.Size - buffer.Length, "a read lies in the object",
            offset, buffer.Length);
        if (await FindZeroesAsync(offset, buffer.Length) is { } known)
        {
            if (known.IsZeroes)
                buffer.Clear();
            return known;
        }

        var unit = (int)_export.MinBlock;
        if ((offset & (unit - 1)) != 0 || (buffer.Length & (unit - 1)) != 0)
            return await ReadBlocksAsync(offset, buffer, unit);
        return await ReadPiecesAsync(offset, buffer);
    }

    public async LoopTask<int> CloseAsync()
    {
        _isClosed = true;
        _lookup?.GiveUp("the source is closed");
        foreach (var connection in (NbdClientConnection[])[.. _alive])
            connection.Close(Closed);
        while (_alive.Count > 0)
            await _gone.WaitAsync();
        _trust?.Dispose();
        return 0;
    }

    private FetchResult Closed => new(FetchStatus.Unavailable, $"{Name} is closed");

    private static string VersionText(string? version) => version is null ? "" : $" (version {version})";

    /// <summary>A server that takes whole blocks only gets whole blocks.</summary>
    private async LoopTask<FetchResult> ReadBlocksAsync(long offset, NativeBuffer buffer, int unit)
    {
        var start = offset & -(long)unit;
        var end = Math.Min((offset + buffer.Length + unit - 1) & -(long)unit, _export!.Size);
        var blocks = _loop!.Buffers.Rent((int)(end - start));
        var result = await ReadPiecesAsync(start, blocks);
        if (result.IsDone)
            blocks.Span.Slice((int)(offset - start), buffer.Length).CopyTo(buffer.Span);
        _loop.Buffers.Return(blocks);
        return result;
    }

    private async LoopTask<FetchResult> ReadPiecesAsync(long offset, NativeBuffer buffer)
    {
        var most = (int)_export!.MaxBlock;
        for (var at = 0; at < buffer.Length; at += most)
        {
            var result = await ReadPieceAsync(offset + at, buffer.Slice(at, Math.Min(most, buffer.Length - at)));
            if (!result.IsDone)
                return result with { Why = $"{Name}: {result.Why}" };
        }

        return FetchResult.Done;
    }

    private async LoopTask<FetchResult> ReadPieceAsync(long offset, NativeBuffer buffer)
    {
        while (true)
        {
            if (Choose() is { } connection)
                return await connection.ReadAsync(offset, buffer);
            if (_final is not null || _isClosed || _open.Count == 0)
                return new FetchResult(FetchStatus.Unavailable, "the connection was lost");
            await _room.WaitAsync();
        }
    }

    /// <summary>The connection with the least to do; null if all have as much as they may.</summary>
    private NbdClientConnection? Choose()
    {
        NbdClientConnection? best = null;
        foreach (var connection in _open)
        {
            if (!connection.IsFull && (best is null || connection.UnderWay < best.UnderWay))
                best = connection;
        }

        if (best is { UnderWay: >= BusyReads } && !_hasEnough && !_isConnecting && _export!.AllowsSeveralConnections
            && _open.Count < MostConnections)
        {
            AddConnectionAsync().Forget();
        }

        return best;
    }

    private FetchResult End(FetchResult final)
    {
        _final = final;
        foreach (var connection in (NbdClientConnection[])[.. _alive])
            connection.Close(final);
        return final;
    }

    private void Ended(NbdClientConnection connection)
    {
        _open.Remove(connection);
        _alive.Remove(connection);
        _room.WakeAll();
        if (_alive.Count == 0)
            _gone.WakeAll();
    }
}
