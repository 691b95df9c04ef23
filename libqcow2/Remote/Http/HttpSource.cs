using System;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using static Qcow2Blk.Interop.LibCurl;

namespace Qcow2Blk.Remote.Http;

/// <summary>
/// An object that a web server or an S3 store has, read in ranges over libcurl. What an answer holds is checked against what was
/// asked and against what was opened, before and after its bytes are taken.
/// </summary>
internal sealed partial class HttpSource : IRemoteSource
{
    /// <summary>Requests that are under way at a time; more wait.</summary>
    private const int MostRequests = 16;

    /// <summary>What the first request asks for. Not a HEAD: a signed URL is for one method.</summary>
    private const int FirstBytes = 64 << 10;

    private readonly RemoteLocation _location;
    private readonly RemoteSettings _settings;
    private readonly HttpTimeouts _timeouts;
    private readonly Action<string> _report;
    private readonly Keyring _keyring;
    private readonly HttpEngine _engine;
    private readonly Stack<HttpTransfer> _free = new();
    private readonly List<HttpTransfer> _busy = [];
    private readonly WaitQueue _room = new();
    private readonly WaitQueue _idle = new();
    private int _underWay;
    private bool _closed;

    private HttpSource(RemoteLocation location, RemoteSettings settings, HttpTimeouts timeouts, Action<string> report, Keyring keyring,
        HttpTarget plain, S3Address? s3)
    {
        _location = location;
        _settings = settings;
        _timeouts = timeouts;
        _report = report;
        _keyring = keyring;
        _plain = plain;
        _s3 = s3;
        _region = FirstRegion(settings);
        _engine = HttpEngine.Use();
    }

    public string Name => _location.Name;

    public int Depth => MostRequests;

    public SourceIdentity? Identity { get; private set; }

    /// <summary>Makes a source; asks nothing of the network yet. On the loop that it is for.</summary>
    /// <param name="location">https://, http:// or s3://</param>
    /// <param name="settings">how it is read</param>
    /// <param name="report">told what an administrator may want to know, without credentials</param>
    /// <param name="source">the source</param>
    /// <returns>null, or why it cannot be made</returns>
    public static string? Create(RemoteLocation location, RemoteSettings settings, Action<string> report, out HttpSource? source) =>
        Create(location, settings, HttpTimeouts.Default, report, out source);

    internal static string? Create(RemoteLocation location, RemoteSettings settings, HttpTimeouts timeouts, Action<string> report,
        out HttpSource? source)
    {
        ArgumentNullException.ThrowIfNull(location);
        ArgumentNullException.ThrowIfNull(settings);
        source = null;
        if (FindPlace(location, settings, out var plain, out var s3) is { } fault)
            return fault;
        if (settings.CertificateAuthorities is { } authorities && !File.Exists(authorities))
            return $"there is no file {authorities} of certificates";
        if (Load() is { } failure)
            return $"{failure}, which URLs need: install libcurl4 (Debian, Ubuntu) or libcurl (Fedora, openSUSE)";
        var keyring = new Keyring(location, settings, timeouts.Command, MayShow(plain!, settings));
        if (LoadCrypto(s3, keyring) is { } lack)
            return lack;
        source = new HttpSource(location, settings, timeouts, report, keyring, plain!, s3);
        return null;
    }

    public async LoopTask<FetchResult> OpenAsync(SourceIdentity? expected)
    {
        if (!await EnterAsync())
            return Closed;
        var buffers = LoopScheduler.Current.Buffers;
        var buffer = buffers.Rent(FirstBytes);
        var needsVersion = !_settings.AllowUnverified && _settings.Root is null;
        FetchResult result;
        SourceIdentity found;
        try
        {
            (result, found) = await FetchAsync(new RangeRequest(0, buffer.Slice(0, FirstBytes), null, needsVersion));
        }
        finally
        {
            buffers.Return(buffer);
            Leave();
        }

        if (!result.IsDone)
            return result;
        if ((Differs(Identity, found) ?? Differs(expected, found)) is { } change)
            return new FetchResult(FetchStatus.Changed, $"{Name}: {change}");
        Identity = found;
        return FetchResult.Done;
    }

    public bool HasOwnWays => true;

    public LoopTask<FetchResult> ReadAsync(long offset, NativeBuffer buffer) => ReadRangeAsync(offset, buffer, null);

    public LoopTask<FetchResult> ReadAsync(long offset, NativeBuffer buffer, ReadHandle handle) => ReadRangeAsync(offset, buffer, handle);

    public async LoopTask<int> CloseAsync()
    {
        if (_closed)
            return 0;
        _closed = true;
        _keyring.Close();

        // One that ends leaves the list; one that waits for credentials stays in it until those are given up.
        for (var i = _busy.Count - 1; i >= 0; i--)
        {
            if (i < _busy.Count)
                _busy[i].Abandon();
        }

        _room.WakeAll();
        while (_underWay > 0)
            await _idle.WaitAsync();
        while (_free.TryPop(out var transfer))
            transfer.Dispose();
        return await _engine.ReleaseAsync();
    }

    private async LoopTask<FetchResult> ReadRangeAsync(long offset, NativeBuffer buffer, ReadHandle? handle)
    {
        if (Identity is not { } known)
            return new FetchResult(FetchStatus.Unavailable, $"{Name}: the source was not opened");
        Invariant.Holds(!buffer.IsEmpty && offset >= 0 && offset <= known.Length - buffer.Length, "a range of a source lies in its object",
            offset, buffer.Length);
        if (!await EnterAsync(handle is { NeedsOwnWay: true }))
            return Closed;
        try
        {
            var (result, _) = await FetchAsync(new RangeRequest(offset, buffer, known, NeedsVersion: false, handle));
            return result;
        }
        finally
        {
            Leave();
        }
    }

    private FetchResult CalledOff => new(FetchStatus.Unavailable, $"{Name}: the read was called off");

    private FetchResult Closed => new(FetchStatus.Unavailable, $"{Name}: the source is closed");

    /// <summary>What is not the same as it was; null if it may be the same.</summary>
    private static string? Differs(SourceIdentity? known, SourceIdentity found)
    {
        if (known is not { } before)
            return null;
        if (before.Length != found.Length)
            return $"the object had {before.Length} bytes, now it has {found.Length}";
        return before.Version is not null && before.Version != found.Version
            ? $"the object was {before.Version}, now it is {found.Version ?? "of no version"}" : null;
    }

    /// <summary>Waits for a turn. Time counts from then on.</summary>
    /// <param name="isUrgent">whether to go at once: those that have a turn may be what is stuck</param>
    /// <returns>false if the source is closed</returns>
    private async LoopTask<bool> EnterAsync(bool isUrgent = false)
    {
        while (_underWay >= MostRequests && !_closed && !isUrgent)
            await _room.WaitAsync();
        if (_closed)
            return false;
        _underWay++;
        return true;
    }

    private void Leave()
    {
        _underWay--;
        _room.WakeOne();
        if (_closed && _underWay == 0)
            _idle.WakeAll();
    }

    private HttpTransfer RentTransfer()
    {
        if (!_free.TryPop(out var transfer))
        {
            transfer = new HttpTransfer(_timeouts);
            SetForGood(transfer.Easy);
        }

        _busy.Add(transfer);
        return transfer;
    }

    private void ReturnTransfer(HttpTransfer transfer)
    {
        _busy.Remove(transfer);
        _free.Push(transfer);
    }

    /// <summary>Options that are the same for every request.</summary>
    private void SetForGood(CurlEasy easy)
    {
        easy.Set(CURLOPT_NOSIGNAL, 1);
        if (easy.Try(CURLOPT_PROTOCOLS_STR, "http,https") != CURLE_OK)
            easy.Set(CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS); // Before 7.85.
        easy.Set(CURLOPT_FOLLOWLOCATION, 0);
        easy.Set(CURLOPT_SSL_VERIFYPEER, 1);
        easy.Set(CURLOPT_SSL_VERIFYHOST, 2);
        if (_settings.CertificateAuthorities is { } authorities)
            easy.Set(CURLOPT_CAINFO, authorities);

        // A libcurl without HTTP/2 refuses this, and speaks HTTP/1.1.
        _ = easy.Set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_2TLS) is not CURLE_OK && easy.TakeOptionFailure() is not CURLE_OK;
        easy.Set(CURLOPT_PATH_AS_IS, 1);
        easy.Set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1);
        easy.Set(CURLOPT_HEADEROPT, CURLHEADER_SEPARATE); // Credentials are for the server, not for a proxy before it.
        easy.Set(CURLOPT_TCP_KEEPALIVE, 1);
        easy.Set(CURLOPT_BUFFERSIZE, ReceiveBytes);
        easy.Set(CURLOPT_CONNECTTIMEOUT_MS, (nint)_timeouts.Connect.TotalMilliseconds);
        easy.Set(CURLOPT_USERAGENT, "qcow2blk");
    }

    /// <summary>What libcurl takes from a socket at a time.</summary>
    private const int ReceiveBytes = 128 << 10;
}
