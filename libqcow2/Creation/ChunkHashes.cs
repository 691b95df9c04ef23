using System;
using System.Collections.Generic;
using System.IO;
using System.Runtime.ExceptionServices;
using System.Threading;
using Qcow2Blk.Crypto;
using Qcow2Blk.Inspect;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote.Manifests;
using Tmds.Linux;

namespace Qcow2Blk.Creation;

/// <summary>The hashes of all chunks of a file that nobody writes, computed on several threads.</summary>
internal sealed class ChunkHashes
{
    // SHA-256 takes ten times as long as reading from the page cache; more threads than that would wait for the disk.
    private const int MostThreads = 4;

    private readonly InspectedFile _file;
    private readonly ManifestHeader _header;
    private readonly byte[] _hashes;
    private readonly byte[] _ofZeroes;
    private long _next;
    private long _done;
    private long _zeroChunks;
    private ExceptionDispatchInfo? _failure;

    private ChunkHashes(InspectedFile file, in ManifestHeader header)
    {
        _file = file;
        _header = header;
        _hashes = new byte[checked((int)header.Chunks * ManifestHeader.HashBytes)];
        _ofZeroes = Manifest.HashOfZeroes(header.ChunkBytes);
    }

    /// <summary>One after the other.</summary>
    public ReadOnlySpan<byte> All => _hashes;

    /// <summary>How many chunks hold nothing but zeroes.</summary>
    public long ZeroChunks => _zeroChunks;

    public ReadOnlySpan<byte> Of(long chunk) => _hashes.AsSpan((int)chunk * ManifestHeader.HashBytes, ManifestHeader.HashBytes);

    /// <param name="file">locked for reading</param>
    /// <param name="header">its length, and the size of chunks</param>
    /// <param name="progress">hears what is done and the fraction that is done, on the calling thread</param>
    /// <exception cref="IOException">it cannot be read, or has been written meanwhile</exception>
    public static ChunkHashes Compute(InspectedFile file, in ManifestHeader header, Action<string, double>? progress)
    {
        var before = Status(file);
        var hashes = new ChunkHashes(file, header);
        var threads = new List<Thread>();
        var wanted = Math.Min(Math.Min(Environment.ProcessorCount, MostThreads), header.Chunks);
        while (threads.Count + 1 < wanted)
        {
            var thread = new Thread(() => hashes.Work(null)) { IsBackground = true, Name = "qcow2blk-hash" };
            thread.Start();
            threads.Add(thread);
        }

        hashes.Work(progress);
        foreach (var thread in threads)
            thread.Join();
        hashes._failure?.Throw();

        // Locks keep out those who ask for them.
        var after = Status(file);
        return before == after ? hashes : throw new IOException($"cannot read {file.Path}: it was written meanwhile");
    }

    private static (ulong Size, long Written, long WrittenPart, long Changed, long ChangedPart) Status(InspectedFile file)
    {
        var error = Stat.OfFile(file.Descriptor, out var status);
        if (error < 0)
            throw new IOException($"cannot stat {file.Path}: {Errno.Text(error)}", -error);
        return status.IsBlockDevice ? default
            : (status.stx_size, status.stx_mtime.tv_sec, status.stx_mtime.tv_nsec, status.stx_ctime.tv_sec, status.stx_ctime.tv_nsec);
    }

    private void Work(Action<string, double>? progress)
    {
        var buffer = new byte[_header.ChunkBytes];
        try
        {
            while (Volatile.Read(ref _failure) is null && Interlocked.Increment(ref _next) - 1 is var chunk && chunk < _header.Chunks)
            {
                Hash(chunk, buffer);
                progress?.Invoke("hashing", (double)Interlocked.Increment(ref _done) / _header.Chunks);
            }
        }
        catch (Exception error)
        {
            Volatile.Write(ref _failure, ExceptionDispatchInfo.Capture(error));
        }
    }

    /// <remarks>Holes are read as well: where a file system is asked for them, it must not be wrong for a single one.</remarks>
    private void Hash(long chunk, byte[] buffer)
    {
        var offset = chunk * _header.ChunkBytes;
        var bytes = buffer.AsSpan(0, (int)Math.Min(_header.ChunkBytes, _header.Length - offset));
        _file.Read(offset, bytes);
        var target = _hashes.AsSpan((int)chunk * ManifestHeader.HashBytes, ManifestHeader.HashBytes);
        var isZero = !bytes.ContainsAnyExcept((byte)0);
        if (isZero)
            Interlocked.Increment(ref _zeroChunks);
        if (isZero && bytes.Length == _header.ChunkBytes)
            _ofZeroes.CopyTo(target);
        else
            Digests.Sha256(bytes, target);
    }
}
