using System;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Logging;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// Reads the manifest of a base: kept from an earlier start, from where the options say, or from beside the base or a mirror.
/// </summary>
internal static class ManifestOpening
{
    /// <summary>What a manifest is called that lies beside its image.</summary>
    public const string Suffix = ".qcm";

    private const string Folder = "manifests";

    /// <exception cref="IOException">there is none with the root that was asked for</exception>
    public static async LoopTask<IChunkProof> LoadAsync(RemoteLocation location, RemoteSettings settings, BaseMakers makers, ILog log)
    {
        var kept = settings.CacheDirectory is null ? null : Path.Combine(settings.CacheDirectory, Folder, settings.Root + Suffix);
        if (kept is not null && File.Exists(kept) && await TryAsync(kept, settings, makers, log, keep: null) is { Proof: { } before })
            return before;
        var failures = new List<string>();
        foreach (var where in Places(location, settings))
        {
            var (proof, failure) = await TryAsync(where, settings, makers, log, kept);
            if (proof is not null)
                return proof;
            failures.Add(failure!);
        }

        throw new IOException(failures.Count > 0 ? string.Join("; ", failures)
            : $"cannot open {location.Name}: --manifest FILE has to say where its manifest is, which --sha256 is the hash of");
    }

    private static async LoopTask<(IChunkProof? Proof, string? Failure)> TryAsync(
        string where, RemoteSettings settings, BaseMakers makers, ILog log, string? keep)
    {
        byte[] text;
        try
        {
            text = await SmallObject.ReadAsync(where, settings, makers.MaxManifestBytes, makers.CreateSource, log.Debug);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            return (null, failure.Message);
        }

        if (makers.ParseManifest(text, settings.Root!, out var proof) is { } wrong)
            return (null, $"cannot use the manifest {where.Split('?')[0]}: {wrong}");
        if (keep is null)
            return (proof, null);
        var keeping = new Keeping(keep, text);
        await LoopScheduler.Current.OffloadAsync(keeping);
        if (keeping.Why is { } trouble)
            log.Info($"the manifest is not kept: {trouble}");
        return (proof, null);
    }

    private static IEnumerable<string> Places(RemoteLocation location, RemoteSettings settings)
    {
        if (settings.Manifest is not null)
        {
            yield return settings.Manifest;
            yield break;
        }

        if (location.IsHttp)
            yield return Beside(location.Text);
        foreach (var mirror in settings.Mirrors)
        {
            if (RemoteLocation.Parse(mirror, out var other) is null && other!.IsHttp)
                yield return Beside(mirror);
        }
    }

    private static string Beside(string url)
    {
        var query = url.IndexOf('?', StringComparison.Ordinal);
        return query < 0 ? url + Suffix : url[..query] + Suffix + url[query..];
    }

    /// <summary>
    /// Keeps a manifest for a start while the source is away: whole, also after a power cut, as such a start has no other. On a helper
    /// thread, as it waits for the disk.
    /// </summary>
    private sealed class Keeping(string path, byte[] text) : IOffloadWork
    {
        /// <summary>Why it is not kept; null if it is.</summary>
        public string? Why { get; private set; }

        public int Execute()
        {
            var fresh = $"{path}.{Guid.NewGuid():N}";
            try
            {
                const UnixFileMode owner = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
                Directory.CreateDirectory(Path.GetDirectoryName(path)!, owner);
                using (var file = new FileStream(fresh, new FileStreamOptions
                {
                    Mode = FileMode.CreateNew,
                    Access = FileAccess.Write,
                    UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
                }))
                {
                    file.Write(text);
                    file.Flush(flushToDisk: true);
                }

                File.Move(fresh, path, overwrite: true);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                Why = failure.Message;
                RemoveDraft(fresh);
            }

            return 0;
        }

        private static void RemoveDraft(string path)
        {
            try
            {
                File.Delete(path);
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                // What kept it from being written may keep it from being removed.
            }
        }
    }
}

/// <summary>Reads a manifest whose hash has to be <paramref name="root"/>.</summary>
/// <returns>null, or what is wrong with it</returns>
internal delegate string? ParseManifest(ReadOnlySpan<byte> file, string root, out IChunkProof? proof);
