using System;

namespace Qcow2Blk.Remote.Http;

/// <summary>What an answer's header means: pure rules (RFC 9110, 13 to 15).</summary>
internal static class HttpVerdict
{
    /// <summary>Stands before a version that is not an entity tag.</summary>
    public const string VersionIdMark = "x-amz-version-id:";

    /// <summary>What makes a request conditional on the object being the same; null if nothing can.</summary>
    public static string? ConditionOf(SourceIdentity? known) => known?.Version is { } version && version[0] == '"' ? version : null;

    /// <summary>What the answer tells of the object.</summary>
    public static SourceIdentity IdentityOf(HttpReply reply) =>
        new(reply.Range?.Total ?? 0, reply.Tag ?? (reply.VersionId is { } id ? VersionIdMark + id : null));

    /// <summary>Judges an answer by its header.</summary>
    /// <param name="reply">complete</param>
    /// <param name="request">what was asked</param>
    /// <param name="code">what the store calls the error; null if it says nothing</param>
    /// <returns>done if the body is what was asked for, as far as a header can tell</returns>
    public static FetchResult Judge(HttpReply reply, in RangeRequest request, string? code = null)
    {
        if (reply.Fault is { } fault)
            return Refuse(FetchStatus.Unavailable, request, fault);
        return reply.Status switch
        {
            206 => JudgePartial(reply, request),
            200 => Refuse(FetchStatus.Unfit, request, "the server ignores Range and sends the whole object (status 200)"),
            412 or 416 when request.Known is not null =>
                Refuse(FetchStatus.Changed, request, $"the object is another one than was opened (status {reply.Status})"),
            416 => Refuse(FetchStatus.Unfit, request, reply.Range is { Total: 0 } ? "the object is empty" : "there is no such range"),
            400 when code is "ExpiredToken" or "TokenRefreshRequired" or "InvalidToken" =>
                Answered(FetchStatus.Denied, request, reply, code),
            401 or 403 => Answered(FetchStatus.Denied, request, reply, code),
            404 or 410 => Answered(FetchStatus.Missing, request, reply, code),
            407 or 408 or 421 or 425 or 429 or >= 500 => Answered(FetchStatus.Unavailable, request, reply, code),

            // An object that was served before has not become unfit: something on the way has a bad day.
            _ => Answered(request.Known is null ? FetchStatus.Unfit : FetchStatus.Unavailable, request, reply, code),
        };
    }

    private static FetchResult JudgePartial(HttpReply reply, in RangeRequest request)
    {
        var unfit = request.Known is null ? FetchStatus.Unfit : FetchStatus.Unavailable;
        if (reply.IsEncoded)
            return Refuse(FetchStatus.Unfit, request, "the server encodes what it sends (Content-Encoding)");
        if (reply.Range is not { Start: >= 0 } range)
            return Refuse(unfit, request, "the answer has no Content-Range that says what it holds");
        if (range.Total < 0)
            return Refuse(unfit, request, $"the server does not say how long the object is (Content-Range {range})");
        if (request.Known is { } known && known.Length != range.Total)
            return Refuse(FetchStatus.Changed, request, $"the object had {known.Length} bytes, now it has {range.Total}");
        var end = Math.Min(request.End, range.Total - 1);
        if (range.Start != request.Start || range.End != end)
            return Refuse(unfit, request, $"the server sends another range ({range})");
        if (reply.Length is { } length && length != end - request.Start + 1)
            return Refuse(unfit, request, $"the answer has {length} bytes, which is not its range ({range})");
        return JudgeVersion(reply, request);
    }

    private static FetchResult JudgeVersion(HttpReply reply, in RangeRequest request)
    {
        var version = IdentityOf(reply).Version;
        if (request.Known is not { } known)
        {
            return version is not null || !request.NeedsVersion ? FetchResult.Done : Refuse(FetchStatus.Unfit, request,
                "the server sends no strong ETag and no version, so that nothing would show that the object has changed");
        }

        if (known.Version is null || known.Version == version)
            return FetchResult.Done;
        return version is null
            ? Refuse(FetchStatus.Unavailable, request, "the answer does not say of which version of the object it is")
            : Refuse(FetchStatus.Changed, request, $"the object was {known.Version}, now it is {version}");
    }

    private static FetchResult Answered(FetchStatus status, in RangeRequest request, HttpReply reply, string? code) =>
        Refuse(status, request, code is null ? $"status {reply.Status}" : $"status {reply.Status} ({code})") with
        {
            RetryAfter = reply.RetryAfter,
            IsBusy = reply.Status is 429 or 503 || reply.RetryAfter is not null,
        };

    private static FetchResult Refuse(FetchStatus status, in RangeRequest request, string why) => new(status, $"{request}: {why}");
}
