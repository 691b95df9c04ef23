using System;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Qcow2Blk.Buffers;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using static Qcow2Blk.Interop.LibCurl;

namespace Qcow2Blk.Remote.Http;

/// <summary>
/// One request and its answer; used again and again. The body goes straight into the memory of who asks, once the header has been
/// judged; everything else that a server sends is thrown away, and if it is much, the connection with it.
/// </summary>
internal sealed class HttpTransfer : ICurlReceiver, IDisposable
{
    /// <summary>What is read of an answer that is not wanted, so that its connection can be used again.</summary>
    private const int MaxWaste = 16 << 10;

    private const int NoteBytes = 1 << 10;

    private readonly HttpTimeouts _timeouts;
    private readonly byte[] _note = new byte[NoteBytes];
    private readonly Action _callOff;
    private HttpEngine? _engine;
    private RangeRequest _request;
    private ManualSource<FetchResult>? _waiter;
    private NativeBuffer _target;
    private FetchResult _verdict;
    private string? _overdue;
    private long _started;
    private long _lastByte;
    private long _windowStart;
    private long _windowBytes;
    private int _received;
    private int _wasted;
    private bool _isWanted;
    private bool _isTooLong;

    public HttpTransfer(HttpTimeouts timeouts)
    {
        _timeouts = timeouts;
        _callOff = () => End("nobody wants it any more");
        Easy = CurlEasy.Create(this) ?? throw new InsufficientMemoryException("libcurl has no memory");
    }

    public CurlEasy Easy { get; }

    public HttpReply Reply { get; } = new();

    /// <summary>What the store calls its error, in the body; null if it says nothing.</summary>
    public string? ErrorCode => ErrorCodeIn(_note.AsSpan(0, Math.Min(_wasted, NoteBytes)));

    /// <summary>Sends the request that <see cref="Easy"/> was prepared for, and waits for the end of the answer.</summary>
    public LoopTask<FetchResult> RunAsync(HttpEngine engine, in RangeRequest request)
    {
        ArgumentNullException.ThrowIfNull(engine);
        _request = request;
        _engine = engine;
        _target = request.Buffer;
        _verdict = default;
        _overdue = null;
        _received = _wasted = 0;
        _isWanted = _isTooLong = false;
        _started = Stopwatch.GetTimestamp();
        _lastByte = 0;
        Reply.Clear();
        _waiter = ManualSource<FetchResult>.Rent();
        if (request.Handle is { } handle)
            handle.Cancelled = _callOff;
        var task = _waiter.Task;
        engine.Start(this);
        return task;
    }

    /// <summary>Ends it, if it is under way: nobody wants the answer any more.</summary>
    public void Abandon() => End("the source is being closed");

    /// <summary>Whether the server has kept us waiting for too long.</summary>
    /// <param name="now">Stopwatch ticks</param>
    public bool IsOverdue(long now)
    {
        _overdue = _lastByte == 0 ? FirstByteOverdue(now) : ProgressOverdue(now);
        return _overdue is not null;
    }

    /// <summary>Takes the end of the transfer, and hands the result to who waits.</summary>
    /// <param name="code">CURLE_*</param>
    public void Ended(int code)
    {
        var waiter = _waiter!;
        _waiter = null;
        _target = default;
        if (_request.Handle is { } handle)
            handle.Cancelled = null;
        if (Easy.Failure is { } failure)
            waiter.SetException(failure);
        else
            waiter.SetResult(ResultOf(code));
    }

    public void Dispose() => Easy.Dispose();

    bool ICurlReceiver.TakeHeader(ReadOnlySpan<byte> line)
    {
        Count(line.Length);
        var wasComplete = Reply.IsComplete;
        if (!Reply.Take(line))
            return false;
        if (wasComplete || !Reply.IsComplete)
            return true;
        _verdict = HttpVerdict.Judge(Reply, _request);
        _isWanted = _verdict.IsDone;
        if (_isWanted)
            _target = _request.Buffer.Slice(0, (int)(Reply.Range!.Value.End - Reply.Range.Value.Start + 1));

        // A whole object instead of a range may be many gigabytes.
        return Reply.Status != 200 && !(Reply.Length > MaxWaste && !_isWanted);
    }

    bool ICurlReceiver.TakeBody(ReadOnlySpan<byte> bytes)
    {
        Count(bytes.Length);
        if (!_isWanted)
            return Waste(bytes);
        if (bytes.Length > _target.Length - _received)
        {
            _isTooLong = true;
            return false;
        }

        if (_request.Handle is { } handle)
            handle.HasBegun = true;
        bytes.CopyTo(_target.Span[_received..]);
        _received += bytes.Length;
        return true;
    }

    /// <summary>The text of the first element "Code" of an S3 error; null if there is none that looks like one.</summary>
    internal static string? ErrorCodeIn(ReadOnlySpan<byte> body)
    {
        const int longest = 64;
        var start = body.IndexOf("<Code>"u8);
        if (start < 0)
            return null;
        body = body[(start + "<Code>"u8.Length)..];
        var end = body.IndexOf("</Code>"u8);
        if (end is <= 0 or > longest)
            return null;
        foreach (var symbol in body[..end])
        {
            if (!char.IsAsciiLetterOrDigit((char)symbol))
                return null;
        }

        return Encoding.ASCII.GetString(body[..end]);
    }

    private void End(string why)
    {
        if (_waiter is null)
            return;
        _overdue = why;
        _engine!.Abort(this, CURLE_ABORTED_BY_CALLBACK);
    }

    private bool Waste(ReadOnlySpan<byte> bytes)
    {
        if (_wasted < NoteBytes)
            bytes[..Math.Min(bytes.Length, NoteBytes - _wasted)].CopyTo(_note.AsSpan(_wasted));
        _wasted += Math.Min(bytes.Length, MaxWaste + 1);
        return _wasted <= MaxWaste;
    }

    private void Count(int bytes)
    {
        var now = Stopwatch.GetTimestamp();
        if (_lastByte == 0)
            _windowStart = now;
        if (_lastByte == 0)
            _windowBytes = 0;
        _lastByte = now;
        _windowBytes += bytes;
    }

    private FetchResult ResultOf(int code)
    {
        if (_overdue is not null)
            return Unavailable(_overdue);
        if (!Reply.IsComplete)
            return Unavailable(Reply.Fault ?? Easy.ErrorText(code));
        if (!_isWanted)
            return ErrorCode is { } name ? HttpVerdict.Judge(Reply, _request, name) : _verdict;
        if (_isTooLong)
            return Unavailable($"the answer is longer than the {Reply.Range} that it says it holds");
        if (code != CURLE_OK)
            return Unavailable($"broken off after {_received} bytes: {Easy.ErrorText(code)}");
        var expected = Reply.Range!.Value.End - Reply.Range.Value.Start + 1;
        return _received == expected ? FetchResult.Done : Unavailable($"the answer ends after {_received} of {expected} bytes");
    }

    private FetchResult Unavailable(string why) => new(FetchStatus.Unavailable, $"{_request}: {why}");

    private string? FirstByteOverdue(long now)
    {
        var elapsed = Stopwatch.GetElapsedTime(_started, now);
        var sent = TimeSpan.FromMicroseconds(Easy.SentAfter());
        if (sent > TimeSpan.Zero)
            return elapsed - sent > _timeouts.FirstByte ? $"no answer within {Seconds(_timeouts.FirstByte)}" : null;

        // Connecting is libcurl's to give up; this is for whatever else it may wait for.
        var most = _timeouts.Connect + _timeouts.FirstByte;
        return elapsed > most ? $"no connection within {Seconds(most)}" : null;
    }

    private string? ProgressOverdue(long now)
    {
        if (Stopwatch.GetElapsedTime(_lastByte, now) > _timeouts.Progress)
            return $"nothing came for {Seconds(_timeouts.Progress)}, after {_received} bytes";
        var window = Stopwatch.GetElapsedTime(_windowStart, now);
        if (window < _timeouts.Progress)
            return null;
        if (_windowBytes < window.TotalSeconds * _timeouts.SlowestRate)
            return $"fewer than {_timeouts.SlowestRate} bytes a second for {Seconds(_timeouts.Progress)}";
        _windowStart = now;
        _windowBytes = 0;
        return null;
    }

    private static string Seconds(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.#} s");
}
