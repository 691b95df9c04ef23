using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote;

namespace Qcow2Blk.Devices.Options;

/// <summary>Bases in stores: part of <see cref="AttachOptionTable"/>. What is secret is in no option.</summary>
internal static class RemoteOptions
{
    /// <summary>Names the directory of caches outright.</summary>
    public const string CacheVariable = "QCOW2BLK_CACHE_DIR";

    private const string SystemCache = "/var/cache/qcow2blk";
    private const long LeastCache = 64L << 20;
    private const long LeastRate = 64L << 10;
    private const long MostRate = 1L << 40;

    internal static AttachOption[] All { get; } =
    [
        new AttachOption<string?>(new UrlKind(), o => o.Base, (o, url) => o with { Base = url })
        {
            Name = "base",
            ValueName = "URL",
            Help = "use the object at URL as the base of the chain: of the first image that names a URL, or a file that is not there;"
                + " the image is not changed",
            IsOfImage = true,
        },
        new AttachOption<bool>(new FlagKind(), o => o.AllowRemoteBacking, (o, on) => o with { AllowRemoteBacking = on })
        {
            Name = "allow-remote-backing",
            Help = "trust the URLs of backing files that images name",
            IsOfImage = true,
        },
        new AttachOption<bool>(new FlagKind(), o => o.RebindBase, (o, on) => o with { RebindBase = on })
        {
            Name = "rebind-base",
            Help = "use the image over its base as that is now, although it was written over another version of it",
            IsOfImage = true,
            Life = OptionLife.Start,
        },
        new AttachOption<IReadOnlyList<string>>(
            new UrlsKind(), o => o.Remote.Mirrors, (o, urls) => o with { Remote = o.Remote with { Mirrors = urls } })
        {
            Name = "mirror",
            Member = "mirrors",
            ValueName = "URL",
            Help = "read from URL what the base does not give, or gives wrongly; needs --sha256; may be repeated",
            IsOfImage = true,
        },
        Text(new HashKind(), "sha256", "ROOT", "accept only the base that the manifest with this hash describes",
            r => r.Root, (r, root) => r with { Root = root }),
        Text(new FileOrUrlKind(), "manifest", "FILE|URL", "where the manifest of the base is",
            r => r.Manifest, (r, where) => r with { Manifest = where }, "the URL of the base with .qcm after its path"),
        Text(new DirectoryOrNoneKind(), "cache-dir", "DIR|none", "keep what was read of bases in DIR, for all servers of this machine",
            r => r.CacheDirectory, (r, directory) => r with { CacheDirectory = directory },
            $"{SystemCache}, or ~/.cache/qcow2blk without root"),
        new AttachOption<long?>(new SizeKind(LeastCache, Limits.MaxFileBytes, "64M or more"), o => o.Remote.CacheBytes,
            (o, bytes) => o with { Remote = o.Remote with { CacheBytes = bytes } })
        {
            Name = "cache-limit",
            ValueName = "SIZE",
            Help = "how much all caches in that directory may take together",
            Default = "a tenth of its file system",
            IsOfImage = true,
        },
        new AttachOption<long?>(new ChunkKind(), o => o.Remote.ChunkBytes == RemoteSettings.DefaultChunkBytes ? null : o.Remote.ChunkBytes,
            (o, bytes) => o with { Remote = o.Remote with { ChunkBytes = (int)(bytes ?? RemoteSettings.DefaultChunkBytes) } })
        {
            Name = "chunk-size",
            ValueName = "SIZE",
            Help = "how much is read and kept at a time, a power of two; a manifest has its own",
            Default = "256K",
            IsOfImage = true,
        },
        new AttachOption<int?>(new WholeKind(1, AttachRules.MaxDeadTimeout, "seconds"), o => o.SourceTimeout,
            (o, seconds) => o with { SourceTimeout = seconds })
        {
            Name = "source-timeout",
            ValueName = "SECONDS",
            Help = "how long requests wait for a source that is away before they fail",
            Default = $"{RemoteSettings.DefaultSourceTimeout}",
            IsOfImage = true,
        },
        Text(new FileKind(), "credentials", "FILE", "read credentials for the source from FILE",
            r => r.CredentialFile, (r, file) => r with { CredentialFile = file }),
        Text(new TextKind(), "credential-command", "CMD", "run CMD in a shell for credentials, again when they expire or are refused",
            r => r.CredentialCommand, (r, command) => r with { CredentialCommand = command }),
        Text(new TextKind(), "url-command", "CMD", "run CMD in a shell for a signed URL of the base, again when it is refused",
            r => r.UrlCommand, (r, command) => r with { UrlCommand = command }),
        Text(new EndpointKind(), "s3-endpoint", "URL", "where the buckets of s3:// are", r => r.S3Endpoint,
            (r, url) => r with { S3Endpoint = url }, "that of AWS"),
        Text(new TextKind(), "s3-region", "NAME", "the region that requests are signed for", r => r.S3Region,
            (r, name) => r with { S3Region = name }, "$AWS_REGION, or us-east-1"),
        Text(new FileKind(), "ca-file", "FILE", "trust the authorities whose certificates are in FILE", r => r.CertificateAuthorities,
            (r, file) => r with { CertificateAuthorities = file }, "those of the system"),
        Flag("insecure", "read from other machines without encryption, although nothing verifies what comes", r => r.AllowInsecure,
            (r, on) => r with { AllowInsecure = on }),
        Flag("unverified", "read from a source that does not show whether the base has changed", r => r.AllowUnverified,
            (r, on) => r with { AllowUnverified = on }),
        Text(new FileKind(), "record-trace", "FILE", "write to FILE in which order the base is read", r => r.RecordTrace,
            (r, file) => r with { RecordTrace = file }),
        Text(new FileOrUrlKind(), "trace", "FILE|URL", "fetch ahead what this trace of an earlier start names", r => r.Trace,
            (r, where) => r with { Trace = where }),
        new AttachOption<string?>(new FillKind(), o => o.Remote.FillAfter is null ? null : FillKind.Print(o.Remote.FillAfter),
            (o, text) => o with { Remote = o.Remote with { FillAfter = FillKind.Read(text) } })
        {
            Name = "fill",
            ValueName = "off|after=SECONDSs",
            Help = "when to fetch the rest of the base, so that its source is no longer needed",
            Default = FillKind.Off,
            IsOfImage = true,
        },
        new AttachOption<long?>(new SizeKind(LeastRate, MostRate, "64K to 1T"), o => o.Remote.FillRate,
            (o, bytes) => o with { Remote = o.Remote with { FillRate = bytes } })
        {
            Name = "fill-rate",
            ValueName = "SIZE",
            Help = "how many bytes a second that takes at most",
            IsOfImage = true,
        },
    ];

    /// <summary>What was said of bases, with the defaults of this machine where nothing was.</summary>
    public static RemoteSettings Resolve(AttachOptions options) => options.Remote with
    {
        SourceTimeout = TimeSpan.FromSeconds(options.SourceTimeout ?? RemoteSettings.DefaultSourceTimeout),
        CacheDirectory = options.Remote.CacheDirectory == DirectoryOrNoneKind.None ? null : options.Remote.CacheDirectory ?? DefaultCache(),
    };

    /// <summary>The directory of caches where none was given; null if this user has no place for one.</summary>
    public static string? DefaultCache()
    {
        if (Environment.GetEnvironmentVariable(CacheVariable) is { Length: > 0 } given)
            return FilePath.Absolute(given);
        if (Unistd.EffectiveUser() == 0)
            return SystemCache;
        var cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } named && named[0] == '/' ? named
            : Environment.GetEnvironmentVariable("HOME") is { Length: > 0 } home && home[0] == '/' ? home + "/.cache" : null;
        return cache is null ? null : cache + "/qcow2blk";
    }

    /// <exception cref="OutcomeException">usage: the first rule that is broken</exception>
    public static void Check(AttachOptions options)
    {
        if (options.Base is null && !options.AllowRemoteBacking)
        {
            if (All.FirstOrDefault(option => option.Texts(options).Count > 0 && option.Default is null) is { } lost)
                throw Usage($"{lost.Switch} needs --base or --allow-remote-backing", "it is about bases in stores");
            return;
        }

        if (options.Format == ImageFormat.Raw)
            throw Usage("--base and --allow-remote-backing need --format qcow2", "a raw image has no backing file");
        if (options.NoBacking)
            throw Usage("--no-backing and bases in stores cannot be used together", "the first allows no backing file at all");
        if (options.Base is not null && options.Backing is not null)
            throw Usage("--base and --backing cannot be used together", "each says what the backing file is");
        if (options.Remote.Mirrors.Count > 0 && options.Remote.Root is null)
            throw Usage("--mirror needs --sha256", "nothing else shows that a mirror has the same base");
        if (options.Remote.Manifest is not null && options.Remote.Root is null)
            throw Usage("--manifest needs --sha256", "nothing else shows that it is the right one");
        if (options.Remote.FillRate is not null && options.Remote.FillAfter is null)
            throw Usage("--fill-rate needs --fill", "nothing is filled otherwise");
        if (options.Remote.FillAfter is not null && options.Remote.CacheDirectory == DirectoryOrNoneKind.None)
            throw Usage("--fill needs a cache", "what is fetched has to be kept");
    }

    private static AttachOption<string?> Text(ValueKind<string?> kind, string name, string valueName, string help,
        Func<RemoteSettings, string?> get, Func<RemoteSettings, string?, RemoteSettings> set, string? preset = null) =>
        new(kind, o => get(o.Remote), (o, text) => o with { Remote = set(o.Remote, text) })
        {
            Name = name,
            ValueName = valueName,
            Help = help,
            Default = preset,
            IsOfImage = true,
        };

    private static AttachOption<bool> Flag(string name, string help, Func<RemoteSettings, bool> get,
        Func<RemoteSettings, bool, RemoteSettings> set) =>
        new(new FlagKind(), o => get(o.Remote), (o, on) => o with { Remote = set(o.Remote, on) })
        {
            Name = name,
            Help = help,
            IsOfImage = true,
        };

    private static OutcomeException Usage(string what, string why) => new(OutcomeKind.Invalid, what, why);
}
