using System;
using System.Collections.Generic;

namespace Qcow2Blk.Remote;

/// <summary>Everything that can be said about how bases are read from a store. What is secret is never in a status or a log.</summary>
internal sealed record RemoteSettings
{
    /// <summary>More of the same base, tried in this order when the first fails or sends what it should not.</summary>
    public IReadOnlyList<string> Mirrors { get; init; } = [];

    /// <summary>The root hash that the manifest of the base must have, 64 hexadecimal digits; null for none.</summary>
    public string? Root { get; init; }

    /// <summary>Where the manifest is: a path or URL; null for the URL of the base with ".qcm" at the end of its path.</summary>
    public string? Manifest { get; init; }

    /// <summary>The directory that caches are kept in; null for no cache.</summary>
    public string? CacheDirectory { get; init; }

    /// <summary>Bytes that all caches in the directory may take together; null for a tenth of the file system.</summary>
    public long? CacheBytes { get; init; }

    public int ChunkBytes { get; init; } = DefaultChunkBytes;

    /// <summary>How long a request waits for a source that is away before it fails.</summary>
    public TimeSpan SourceTimeout { get; init; } = TimeSpan.FromSeconds(DefaultSourceTimeout);

    /// <summary>A file with credentials (as AWS's, or "Authorization: …"); read again when they are refused.</summary>
    public string? CredentialFile { get; init; }

    /// <summary>
    /// The base that credentials are for, while something else is read that is named beside it; null while that is the base itself.
    /// </summary>
    public RemoteLocation? CredentialsOf { get; init; }

    /// <summary>The environment variable that holds the value of an Authorization header.</summary>
    public const string AuthorizationVariable = "QCOW2BLK_AUTHORIZATION";

    /// <summary>Whether requests carry what nobody else may read. What S3 signs is not that.</summary>
    public bool HasCredentials => CredentialFile is not null || CredentialCommand is not null || UrlCommand is not null
        || System.Environment.GetEnvironmentVariable(AuthorizationVariable) is { Length: > 0 };

    /// <summary>A shell command that prints credentials; run again when they expire or are refused.</summary>
    public string? CredentialCommand { get; init; }

    /// <summary>A shell command that prints a signed URL of the object, given its plain one as $1; run again when it is refused.</summary>
    public string? UrlCommand { get; init; }

    /// <summary>The store's own endpoint, such as https://store.example:9000; null for AWS.</summary>
    public string? S3Endpoint { get; init; }

    public string? S3Region { get; init; }

    /// <summary>A file of certificates of authorities (PEM); null for the system's.</summary>
    public string? CertificateAuthorities { get; init; }

    /// <summary>Whether http:// and nbd:// to other machines will do although nothing verifies what comes.</summary>
    public bool AllowInsecure { get; init; }

    /// <summary>Whether a source without a strong entity tag or version will do: nothing shows that the object has changed.</summary>
    public bool AllowUnverified { get; init; }

    /// <summary>Where to write the order of first touches (absolute path); null for nowhere.</summary>
    public string? RecordTrace { get; init; }

    /// <summary>Whether what that file holds of the same base stays in it, because the device was served before and goes on.</summary>
    public bool GoesOnRecording { get; init; }

    /// <summary>A path or URL of such a record, to be fetched ahead; null for none.</summary>
    public string? Trace { get; init; }

    /// <summary>After how long the rest of the base is fetched; null for never.</summary>
    public TimeSpan? FillAfter { get; init; }

    /// <summary>Bytes a second that filling takes at most; null for as fast as the source is.</summary>
    public long? FillRate { get; init; }

    public const int DefaultChunkBytes = 256 << 10;

    public const int MinChunkBytes = 64 << 10;

    public const int MaxChunkBytes = 4 << 20;

    public const int DefaultSourceTimeout = 300;
}
