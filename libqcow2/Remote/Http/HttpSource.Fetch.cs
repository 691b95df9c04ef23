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

    /// <summary>Where the last redirect led to; null for nowhere.</summary>
    private HttpTarget? _away;

    private long _awaySince;

    /// <summary>What an attempt has done so far.</summary>
    private record struct Attempt(HttpTarget Home, HttpTarget Target, int Redirects, bool HasRefreshed, bool HasMoved);

    private async LoopTask<(FetchResult Result, SourceIdentity Found)> FetchAsync(RangeRequest request)
    {
        var attempt = default(Attempt);
        while (true)
        {
            if (await _keyring.EnsureAsync() is { } failure)
                return (new FetchResult(FetchStatus.Denied, $"{Name}: {failure}"), default);
            if (_closed)
                return (Closed, default);
            if (request.Handle is { IsCancelled: true })
                return (CalledOff, default);
            if (attempt.Target is null)
            {
                var home = HomeNow();
                attempt = attempt with { Home = home, Target = Away() ?? home };
            }

            if (RefusalOf(attempt.Home) is { } refusal)
                return (new FetchResult(FetchStatus.Unfit, $"{Name}: {refusal}"), default);

            var transfer = RentTransfer();
            var generation = _keyring.Generation;
            try
            {
                var result = Prepare(transfer.Easy, attempt, request) is { } fault
                    ? new FetchResult(FetchStatus.Unavailable, fault)
                    : await transfer.RunAsync(_engine, request);
                if (result.IsDone)
                {
                    Remember(attempt);
                    return (result, HttpVerdict.IdentityOf(transfer.Reply));
                }

                if (_closed)
                    return (Closed, default);
                if (request.Handle is { IsCancelled: true })
                    return (CalledOff, default);
                var next = await GoOnAsync(transfer, result, attempt, generation, request);
                if (next.Result is { } final)
                    return (final with { Why = $"{Name}: {final.Why}" }, default);
                attempt = next.Attempt;
            }
            finally
            {
                ReturnTransfer(transfer);
            }
        }
    }

    /// <summary>Decides what an answer that is not the bytes leads to.</summary>
    /// <returns>the end of the attempt, or how it goes on</returns>
    private async LoopTask<(FetchResult? Result, Attempt Attempt)> GoOnAsync(
        HttpTransfer transfer, FetchResult result, Attempt attempt, int generation, RangeRequest request)
    {
        var reply = transfer.Reply;
        var isHome = attempt.Target.HasHostOf(attempt.Home);
        if (!reply.IsComplete)
        {
            _away = null;
            return (result, attempt);
        }

        // What the store says of itself, only the store can say.
        if (isHome && reply.Status is (301 or 307 or 400 or 403) && Moves(reply, ref attempt))
            return (null, attempt);
        if (reply.Status is 301 or 302 or 303 or 307 or 308 && transfer.Easy.RedirectUrl() is { } url)
        {
            var refusal = Redirect(url, ref attempt, request);
            return (refusal, attempt);
        }

        _away = null;

        // A place that was redirected to earlier may be no place any more: the object's own says.
        if (attempt.Redirects == 0 && attempt.Target != attempt.Home)
            return (null, attempt with { Target = attempt.Home });
        if (result.Status == FetchStatus.Denied && !isHome && !_keyring.Current.IsEmpty)
        {
            result = result with
            {
                Why = $"{result.Why} from {attempt.Target.Host}, where the server redirects to: no credentials go there",
            };
        }

        if (result.Status != FetchStatus.Denied || attempt.HasRefreshed)
            return (result, attempt);
        if (isHome && transfer.ErrorCode == "RequestTimeTooSkewed" && reply.Date is { } date)
        {
            // The store's clock counts, not ours.
            _clockOffset = date - DateTimeOffset.UtcNow;
            _report($"{Name}: the clock of this machine differs from the store's by {-_clockOffset.TotalSeconds:0} s");
        }
        else if (!_keyring.CanRefresh)
        {
            return (result, attempt);
        }
        else if (await _keyring.RefreshAsync(generation) is { } failure)
        {
            return (result with { Why = $"{result.Why}; {failure}" }, attempt);
        }

        return (null, attempt with { Target = null!, Redirects = 0, HasRefreshed = true });
    }

    /// <summary>Takes over the region that the store says the bucket is in, once in an attempt.</summary>
    private bool Moves(HttpReply reply, ref Attempt attempt)
    {
        if (_s3 is null || attempt.HasMoved || reply.BucketRegion is not { } region || region == _region || !IsRegion(region)
            || S3Address.DomainOf(region) != S3Address.DomainOf(_region))
        {
            return false;
        }

        _region = region;
        _away = null;
        attempt = attempt with { Target = null!, HasMoved = true };
        return true;
    }

    /// <summary>Says what the next request is.</summary>
    /// <returns>null, or why it cannot be sent</returns>
    private string? Prepare(CurlEasy easy, in Attempt attempt, in RangeRequest request)
    {
        easy.ClearHeaders();
        easy.Set(CURLOPT_URL, attempt.Target.Url);

        // Plain http is for this machine only: no proxy of the environment may take it elsewhere.
        if (attempt.Target.IsLoopback)
            easy.Set(CURLOPT_NOPROXY, "*");
        else
            easy.Set(CURLOPT_NOPROXY, 0);
        easy.Set(CURLOPT_FRESH_CONNECT, request.Handle is { NeedsOwnWay: true } ? 1 : 0);
        easy.AddHeader($"Range: bytes={request.Start}-{request.End}");
        easy.AddHeader("Accept-Encoding: identity");
        if (HttpVerdict.ConditionOf(request.Known) is { } condition)
            easy.AddHeader($"If-Match: {condition}");
        Authorize(easy, attempt);
        return easy.TakeOptionFailure() is var failure and not CURLE_OK ? $"libcurl refuses an option: {Text(failure)}" : null;
    }

    /// <summary>
    /// Shows credentials to the host that they are for, and to no other, wherever that redirects: no key's signature, and not the token
    /// that goes with it.
    /// </summary>
    private void Authorize(CurlEasy easy, in Attempt attempt)
    {
        if (!attempt.Target.HasHostOf(attempt.Home))
            return;
        var credentials = _keyring.Current;
        if (credentials.Authorization is { } authorization)
        {
            easy.AddHeader($"Authorization: {authorization}");
        }
        else if (_s3 is not null && credentials.Keys is { } keys && !attempt.Target.IsSigned)
        {
            foreach (var (name, value) in AwsSignature.Sign(attempt.Target, keys, _region, DateTimeOffset.UtcNow + _clockOffset))
                easy.AddHeader($"{name}: {value}");
        }
    }

    /// <summary>Goes where an answer points to.</summary>
    /// <returns>null, or why not</returns>
    private FetchResult? Redirect(string url, ref Attempt attempt, in RangeRequest request)
    {
        if (attempt.Redirects == MostRedirects)
            return new FetchResult(FetchStatus.Unavailable, $"{request}: more than {MostRedirects} redirects");
        if (HttpTarget.Parse(url, out var next) is { } fault)
            return new FetchResult(FetchStatus.Unfit, $"{request}: the place that the server redirects to {fault}");
        if (attempt.Target.IsTls && !next!.IsTls)
            return new FetchResult(FetchStatus.Unfit, $"{request}: the server redirects from https to http, to {next.Host}");
        if (!MayUse(next!, _settings))
            return new FetchResult(FetchStatus.Unfit, $"{request}: the server redirects to http on another machine, {next!.Host}");
        attempt = attempt with { Target = next!, Redirects = attempt.Redirects + 1 };
        return null;
    }

    private HttpTarget? Away() => _away is not null && Stopwatch.GetElapsedTime(_awaySince) < _timeouts.RedirectAge ? _away : null;

    private void Remember(in Attempt attempt)
    {
        if (attempt.Redirects == 0)
            return;
        _away = attempt.Target;
        _awaySince = Stopwatch.GetTimestamp();
    }
}
