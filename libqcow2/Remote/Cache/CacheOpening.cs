using System;
using System.IO;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Remote.Cache;

/// <summary>Opens an entry on a helper thread: it may wait for other processes, and for the disk.</summary>
internal sealed class CacheOpening(CacheSettings settings, CacheKey key, bool isConfirmed) : IOffloadWork
{
    /// <summary>What was opened; null if it cannot be used.</summary>
    public OpenedEntry? Entry { get; private set; }

    /// <summary>Why it cannot be used.</summary>
    public string? Why { get; private set; }

    public int Execute()
    {
        try
        {
            Open();
            return 0;
        }
        catch (IOException error)
        {
            Why = error.Message;
            return -Errno.EIO;
        }
    }

    private void Open()
    {
        var label = new CacheLabel(key, settings.ChunkBytes, settings.Now, isConfirmed ? settings.Now : 0);
        if (Math.Max(key.Name.Length, key.Version.Length) > CacheKey.MaxCharacters)
        {
            throw new IOException($"cannot keep {key.Name[..Math.Min(key.Name.Length, 64)]} in a cache: its name or its version has more"
                + $" than {CacheKey.MaxCharacters} characters");
        }

        if (!label.Layout.IsPossible)
        {
            throw new IOException(
                $"cannot keep {key.Name} in a cache: it has {key.Length} bytes, in chunks of {settings.ChunkBytes}: take larger ones");
        }

        using var directory = CacheDirectory.Open(settings.Directory, make: true)!;
        var survey = CacheSurvey.Of(directory.Root, settings.LimitBytes);
        var files = directory.OpenOrMake(label, isConfirmed);
        FileStorage? reader = null;
        FileStorage? writer = null;
        try
        {
            reader = OpenData(files, O_RDONLY, direct: false) ?? throw Refusal(files, "the file of data cannot be read");

            // Past the page cache: what the kernel wrote back later, and could not, it would tell nobody who reads.
            writer = OpenData(files, O_RDWR, direct: true) ?? OpenData(files, O_RDWR, direct: false)
                ?? throw Refusal(files, "the file of data cannot be written");
            var map = OpenFound(files.Map.Descriptor, files.Path, direct: false, readOnly: false);
            Entry = new OpenedEntry(files, reader, writer, map, survey);
        }
        catch
        {
            reader?.Dispose();
            writer?.Dispose();
            files.Dispose();
            throw;
        }
    }

    private static IOException Refusal(EntryFiles files, string why) => new($"cannot use {files.Path}: {why}");

    /// <returns>null if the file system does not open it like that</returns>
    private static FileStorage? OpenData(EntryFiles files, int flags, bool direct)
    {
        var descriptor = files.OpenData(flags | (direct ? O_DIRECT : 0));
        if (descriptor < 0)
            return null;
        try
        {
            var storage = OpenFound(descriptor, files.Path, direct, readOnly: flags == O_RDONLY);
            if (storage.OffsetAlignment <= RemoteSettings.MinChunkBytes)
                return storage;
            storage.Dispose();
            return null;
        }
        finally
        {
            Files.Close(descriptor);
        }
    }

    private static FileStorage OpenFound(int descriptor, string path, bool direct, bool readOnly)
    {
        var result = FoundFile.OfDescriptor(descriptor, path, out var found);
        if (result < 0)
            throw new IOException($"cannot use {path}: {Errno.Text(result)}");
        using (found)
        {
            result = FileStorage.Open(found!, readOnly, direct, out var storage);
            return storage ?? throw new IOException($"cannot use {path}: {Errno.Text(result)}");
        }
    }
}

/// <summary>An entry in use.</summary>
/// <param name="Files">its directory, map and locks</param>
/// <param name="Reader">the file of data</param>
/// <param name="Writer">the same file, opened to store chunks</param>
/// <param name="Map">the file of the map</param>
/// <param name="Survey">how full the cache was</param>
internal sealed record OpenedEntry(EntryFiles Files, FileStorage Reader, FileStorage Writer, FileStorage Map, CacheSurvey Survey)
    : IDisposable
{
    public void Dispose()
    {
        Reader.Dispose();
        Writer.Dispose();
        Map.Dispose();
        Files.Dispose();
    }
}
