using System;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Http;

/// <summary>
/// The credentials of one source: got when they are first needed, again before they end, and again when they were refused; once,
/// however many requests wait for them. On the home loop.
/// </summary>
/// <remarks>
/// What files and the environment hold is for the server of the base, and for nobody else that is read beside it: a mirror, or who has
/// the manifest. A command is told which URL it is for. Keys of S3 are for s3:// wherever that is named, as that is one store.
/// </remarks>
internal sealed class Keyring
{
    private static readonly TimeSpan s_ahead = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan s_soonest = TimeSpan.FromSeconds(10);

    private readonly RemoteLocation _location;
    private readonly RemoteSettings _settings;
    private readonly TimeSpan _patience;
    private readonly string? _command;
    private readonly string? _file;
    private readonly bool _isOfBase;
    private readonly AsyncLock _fetching = new();
    private SecretFetch? _fetch;
    private DateTimeOffset _refreshAt = DateTimeOffset.MinValue;
    private string? _failure;
    private long _attempts;
    private bool _isClosed;

    /// <param name="location">what is read</param>
    /// <param name="settings">where credentials come from</param>
    /// <param name="patience">how long a command may take</param>
    /// <param name="isPrivate">whether nobody on the way can read what is sent</param>
    public Keyring(RemoteLocation location, RemoteSettings settings, TimeSpan patience, bool isPrivate)
    {
        ArgumentNullException.ThrowIfNull(location);
        ArgumentNullException.ThrowIfNull(settings);
        _location = location;
        _settings = settings;
        _patience = patience;
        _isOfBase = settings.CredentialsOf is not { } owner || location.HasServerOf(owner);
        var isS3 = location.Scheme == RemoteScheme.S3;
        var command = settings.UrlCommand ?? settings.CredentialCommand;
        if (isS3 || isPrivate || _isOfBase)
            _command = command;
        if (command is null && (isS3 || _isOfBase))
            _file = settings.CredentialFile;
        if (!CanRefresh)
            (Current, _refreshAt, Generation) = (FromEnvironment(), DateTimeOffset.MaxValue, 1);
    }

    /// <summary>What servers are shown now.</summary>
    public Credentials Current { get; private set; } = Credentials.None;

    /// <summary>Goes up with each change; 0 before the first credentials.</summary>
    public int Generation { get; private set; }

    /// <summary>Whether they come from where other ones may come from.</summary>
    public bool CanRefresh => (_command ?? _file) is not null;

    /// <summary>Has them at hand, and anew if they are about to end.</summary>
    /// <returns>null, or why there are none</returns>
    public async LoopTask<string?> EnsureAsync()
    {
        if (DateTimeOffset.UtcNow < _refreshAt)
            return null;
        var generation = Generation;
        var failure = await RefreshAsync(generation);

        // Those at hand may do for a while.
        if (failure is null || Generation == 0 || Current.Expiration <= DateTimeOffset.UtcNow)
            return failure;
        _refreshAt = DateTimeOffset.UtcNow + s_soonest;
        return null;
    }

    /// <summary>Gets others in place of those that were refused, unless somebody has done so.</summary>
    /// <param name="refused">the generation that was refused</param>
    /// <returns>null, or why there are none</returns>
    public async LoopTask<string?> RefreshAsync(int refused)
    {
        var before = _attempts;
        await _fetching.EnterAsync();
        string? failure = null;
        if (_isClosed)
            failure = "the source is closed";
        else if (refused == Generation)
            failure = before == _attempts ? await FetchAsync() : _failure;
        _fetching.Exit();
        return failure;
    }

    /// <summary>Ends a command that runs; nothing is got any more.</summary>
    public void Close()
    {
        _isClosed = true;
        _fetch?.Abandon();
    }

    private async LoopTask<string?> FetchAsync()
    {
        string name;
        LoopTask<int> done;
        if (_command is { } command)
        {
            name = _settings.UrlCommand is null ? "the credential command" : "the URL command";
            done = SecretFetch.RunAsync(fetch => SecretCommand.Run(fetch, command, _location.Name, _patience), out _fetch);
        }
        else
        {
            var file = _file!;
            name = $"the credential file {file}";
            done = SecretFetch.RunAsync(fetch => SecretFile.Read(fetch, file), out _fetch);
        }

        var fetch = _fetch;
        await done;
        _fetch = null;
        var failure = fetch.Failure ?? Take(fetch.Output!);
        _failure = failure is null ? null : $"{name} {failure}";
        _attempts++;
        return _failure;
    }

    private string? Take(string text)
    {
        Credentials credentials;
        string? failure;
        if (_command is null)
            failure = CredentialText.ParseFile(text, Variable("AWS_PROFILE") ?? "default", out credentials);
        else if (_settings.UrlCommand is not null)
            failure = SignedUrl.Parse(text, out credentials);
        else
            failure = CredentialText.ParseOutput(text, out credentials);
        if (failure is not null)
            return failure;
        if (_command is null && !_isOfBase)
            credentials = credentials with { Authorization = null };
        Current = credentials;
        Generation++;
        _refreshAt = RefreshTime(credentials.Expiration, DateTimeOffset.UtcNow);
        return null;
    }

    /// <summary>When to get others: a while before these end, but not again at once.</summary>
    internal static DateTimeOffset RefreshTime(DateTimeOffset? expiration, DateTimeOffset now)
    {
        if (expiration is not { } end)
            return DateTimeOffset.MaxValue;
        var left = end - now;
        var ahead = left / 5 < s_ahead ? left / 5 : s_ahead;
        var time = end - ahead;
        return time < now + s_soonest ? now + s_soonest : time;
    }

    /// <summary>The environment, if neither a command nor a file was given, whether that is used here or not.</summary>
    private Credentials FromEnvironment()
    {
        if ((_settings.UrlCommand ?? _settings.CredentialCommand ?? _settings.CredentialFile) is not null)
            return Credentials.None;
        if (_isOfBase && Variable(RemoteSettings.AuthorizationVariable) is { } authorization && CredentialText.IsValue(authorization))
            return new Credentials { Authorization = authorization };
        return _location.Scheme == RemoteScheme.S3
            && Variable("AWS_ACCESS_KEY_ID") is { } id && Variable("AWS_SECRET_ACCESS_KEY") is { } key
            && CredentialText.IsValue(id) && CredentialText.IsValue(key)
            ? new Credentials { Keys = new AwsKeys(id, key, Variable("AWS_SESSION_TOKEN")) } : Credentials.None;
    }

    internal static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;
}
