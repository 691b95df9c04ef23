using System;
using System.IO;
using Qcow2Blk.Buffers;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Bases;

/// <summary>Reads what lies beside a base, such as its manifest, wholly: from a file, or from a store.</summary>
internal static class SmallObject
{
    private const int PieceBytes = 1 << 20;

    // Of a store that does not answer: the caller decides what to do without.
    private const int Attempts = 4;
    private const int Pause = 500;

    /// <param name="where">an absolute path, or a URL</param>
    /// <param name="settings">credentials and so on; nothing else shows what the object has to be, so its reader must check</param>
    /// <param name="most">bytes that it may have</param>
    /// <param name="create">makes the source</param>
    /// <param name="report">told of trouble with the source</param>
    /// <exception cref="IOException">it cannot be read</exception>
    public static async LoopTask<byte[]> ReadAsync(
        string where, RemoteSettings settings, int most, CreateSource create, Action<string> report)
    {
        if (!RemoteLocation.IsUrl(where))
            return ReadFile(where, most);
        if (RemoteLocation.Parse(where, out var location) is { } wrong)
            throw new IOException($"cannot read {where.Split('?')[0]}: {wrong}");
        if (create(location!, settings with { AllowUnverified = true }, report, out var source) is { } why)
            throw new IOException($"cannot read {location!.Name}: {why}");
        try
        {
            var result = new FetchResult(FetchStatus.Unavailable);
            for (var attempt = 0; attempt < Attempts; attempt++)
            {
                if (attempt > 0)
                    await LoopScheduler.Current.DelayAsync(Pause << attempt);
                result = await source!.OpenAsync(null);
                if (!result.IsDone && !result.IsFinal && result.Status != FetchStatus.Missing)
                    continue;
                if (!result.IsDone)
                    break;
                var length = source.Identity!.Value.Length;
                if (length > most)
                    throw new IOException($"cannot read {location!.Name}: it has {length} bytes, and {most} is the most");
                var bytes = new byte[length];
                result = await ReadAsync(source, bytes);
                if (result.IsDone)
                    return bytes;
            }

            throw new IOException($"cannot read {location!.Name}: {result.Why}");
        }
        finally
        {
            await source!.CloseAsync();
        }
    }

    private static async LoopTask<FetchResult> ReadAsync(IRemoteSource source, byte[] bytes)
    {
        var pool = LoopScheduler.Current.Buffers;
        var piece = pool.Rent(PieceBytes);
        var result = FetchResult.Done;
        for (var done = 0; done < bytes.Length && result.IsDone;)
        {
            var part = piece.Slice(0, Math.Min(PieceBytes, bytes.Length - done));
            result = await source.ReadAsync(done, part);
            part.Span.CopyTo(bytes.AsSpan(done));
            done += part.Length;
        }

        pool.Return(piece);
        return result;
    }

    private static byte[] ReadFile(string path, int most)
    {
        using var file = File.OpenRead(path);
        if (file.Length > most)
            throw new IOException($"cannot read {path}: it has {file.Length} bytes, and {most} is the most");
        var bytes = new byte[file.Length];
        file.ReadExactly(bytes);
        return bytes;
    }
}

/// <summary>Makes the source of a URL.</summary>
/// <returns>null, or why there cannot be one</returns>
internal delegate string? CreateSource(RemoteLocation location, RemoteSettings settings, Action<string> report, out IRemoteSource? source);
