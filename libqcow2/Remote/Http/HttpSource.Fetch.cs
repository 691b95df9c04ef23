using System;
using System.Diagnostics;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using static Qcow2Blk.Interop.LibCurl;

namespace Qcow2Blk.Remote.Http;

/// <summary>One attempt: requests, as many as redirects and credentials make of it.</summary>
internal sealed partial class HttpSource
{
    private const int MostRedirects = 5;

    /// <summary>Where the object is.</summary>
    private readonly HttpTarget _home;

    /// <summary>Where the last redirect led to; null for nowhere.</summary>
    private HttpTarget? _away;

    private long _awaySince;

    private async LoopTask<(FetchResult Result, SourceIdentity Found)> FetchAsync(RangeRequest request)
    {
        var home = _home;
        var target = Away() ?? home;
        var redirects = 0;
        while (true)
        {
            var transfer = RentTransfer();
            try
            {
                var result = Prepare(transfer.Easy, target, request) is { } fault
                    ? new FetchResult(FetchStatus.Unavailable, fault)
                    : await transfer.RunAsync(_engine, request);
                if (result.IsDone)
                {
                    Remember(target, home);
                    return (result, HttpVerdict.IdentityOf(transfer.Reply));
                }

                if (_closed)
                    return (Closed, default);
                if (IsRedirect(transfer.Reply))
                {
                    if (Redirect(transfer.Easy.RedirectUrl(), ref target, ++redirects, request) is { } refusal)
                        return (refusal, default);
                    continue;
                }

                // A place that was redirected to earlier may be no place any more: the object's own says.
                if (redirects == 0 && target != home && transfer.Reply.IsComplete)
                {
                    _away = null;
                    target = home;
                    continue;
                }

                _away = null;
                return (result, default);
            }
            finally
            {
                ReturnTransfer(transfer);
            }
        }
    }

    private static bool IsRedirect(HttpReply reply) => reply.IsComplete && reply.Status is 301 or 302 or 303 or 307 or 308;

    /// <summary>Says what the next request is.</summary>
    /// <returns>null, or why it cannot be sent</returns>
    private string? Prepare(CurlEasy easy, HttpTarget target, in RangeRequest request)
    {
        easy.ClearHeaders();
        easy.Set(CURLOPT_URL, target.Url);
        easy.AddHeader($"Range: bytes={request.Start}-{request.End}");
        easy.AddHeader("Accept-Encoding: identity");
        if (HttpVerdict.ConditionOf(request.Known) is { } condition)
            easy.AddHeader($"If-Match: {condition}");
        return easy.TakeOptionFailure() is var failure and not CURLE_OK ? $"libcurl refuses an option: {Text(failure)}" : null;
    }

    /// <summary>Goes where an answer points to.</summary>
    /// <returns>null, or why not</returns>
    private FetchResult? Redirect(string? url, ref HttpTarget target, int redirects, in RangeRequest request)
    {
        if (redirects > MostRedirects)
            return new FetchResult(FetchStatus.Unavailable, $"{request}: more than {MostRedirects} redirects");
        HttpTarget? next = null;
        var fault = url is null ? "is missing" : HttpTarget.Parse(url, out next);
        if (fault is not null)
            return new FetchResult(FetchStatus.Unfit, $"{request}: the place that the server redirects to {fault}");
        if (target.IsTls && !next!.IsTls)
            return new FetchResult(FetchStatus.Unfit, $"{request}: the server redirects from https to http, to {next.Host}");
        if (!MayUse(next!, _settings))
            return new FetchResult(FetchStatus.Unfit, $"{request}: the server redirects to http on another machine, {next!.Host}");
        target = next!;
        return null;
    }

    private HttpTarget? Away() => _away is not null && Stopwatch.GetElapsedTime(_awaySince) < _timeouts.RedirectAge ? _away : null;

    private void Remember(HttpTarget target, HttpTarget home)
    {
        if (target == home || target == _away)
            return;
        _away = target;
        _awaySince = Stopwatch.GetTimestamp();
    }

    /// <summary>Whether nobody on the way can change what comes, or it is verified, or nobody minds.</summary>
    private static bool MayUse(HttpTarget target, RemoteSettings settings) =>
        target.IsTls || target.IsLoopback || settings.AllowInsecure || settings.Root is not null;

    private static string? FindHome(RemoteLocation location, RemoteSettings settings, out HttpTarget? home)
    {
        if (HttpTarget.Parse(location.Text, out home) is { } fault)
            return $"the URL {fault}";
        return MayUse(home!, settings) ? null : "http to another machine is neither encrypted nor verified";
    }
}
