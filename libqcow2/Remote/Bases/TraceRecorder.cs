using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using System.Text;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Remote.Bases;

/// <summary>
/// Writes down in which order the chunks of a base are first read: <see cref="BootTrace"/> has what it writes. Home loop; what
/// it has is in the file a second later, and at the end.
/// </summary>
internal sealed class TraceRecorder : IDisposable
{
    private const int FlushInterval = 1000;

    private readonly HashSet<long> _seen = [];
    private readonly StringBuilder _lines = new();
    private readonly FileStream _file;
    private readonly Action<string> _report;
    private readonly int _chunkBytes;
    private readonly long _began = Stopwatch.GetTimestamp();
    private readonly long _before;
    private bool _isFlushing;
    private bool _isClosed;

    /// <param name="path">where to, written anew</param>
    /// <param name="goesOn">whether what the file holds of the same base stays in it</param>
    /// <param name="name">of the base</param>
    /// <param name="version">of the base; null if nothing tells it from others</param>
    /// <param name="length">of the base, in bytes</param>
    /// <param name="chunkBytes">bytes of a chunk</param>
    /// <param name="report">told if it cannot be written any more</param>
    /// <exception cref="IOException">it cannot be written</exception>
    /// <exception cref="UnauthorizedAccessException">it may not be written</exception>
    public TraceRecorder(
        string path, bool goesOn, string name, string? version, long length, int chunkBytes, Action<string> report)
    {
        _report = report;
        _chunkBytes = chunkBytes;
        _file = new FileStream(path, goesOn ? FileMode.OpenOrCreate : FileMode.Create, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0);
        if (goesOn && FindEarlier(_file, out var bytes) is { } earlier && earlier.Length == length && earlier.Version == version
            && earlier.ChunkBytes == chunkBytes)
        {
            foreach (var offset in earlier.Offsets)
                _seen.Add(offset / chunkBytes);
            _before = earlier.Milliseconds;
            _file.SetLength(bytes);
            _file.Position = bytes;
            return;
        }

        _file.SetLength(0);
        _file.Position = 0;
        _lines.Append(BootTrace.Header(name, version, length, chunkBytes)).Append('\n');
        Write();
    }

    public void Touch(long chunk)
    {
        if (_isClosed || _seen.Count >= BootTrace.MaxEntries || !_seen.Add(chunk))
            return;
        var milliseconds = _before + (long)Stopwatch.GetElapsedTime(_began).TotalMilliseconds;
        _lines.Append(BootTrace.Entry(chunk * _chunkBytes, milliseconds)).Append('\n');
        if (!_isFlushing)
            FlushLaterAsync().Forget();
    }

    public void Dispose()
    {
        if (_isClosed)
            return;
        Write();
        _isClosed = true;
        _file.Dispose();
    }

    /// <summary>What was recorded before; null if the file holds something else.</summary>
    /// <param name="file">hostile: anybody may have written it meanwhile</param>
    /// <param name="bytes">of its whole lines</param>
    private static BootTrace? FindEarlier(FileStream file, out int bytes)
    {
        bytes = 0;
        if (file.Length is 0 or > BootTrace.MaxBytes)
            return null;
        var text = new byte[file.Length];
        file.ReadExactly(text);
        bytes = text.AsSpan().LastIndexOf((byte)'\n') + 1;
        return BootTrace.Parse(text.AsSpan(0, bytes), out var trace) is null ? trace : null;
    }

    private async LoopTask<int> FlushLaterAsync()
    {
        _isFlushing = true;
        await LoopScheduler.Current.DelayAsync(FlushInterval);
        _isFlushing = false;
        Write();
        return 0;
    }

    /// <summary>A few lines into the page cache: no more than a look at a file system takes.</summary>
    private void Write()
    {
        if (_isClosed || _lines.Length == 0)
            return;
        try
        {
            _file.Write(Encoding.UTF8.GetBytes(_lines.ToString()));
            _lines.Clear();
        }
        catch (IOException failure)
        {
            _report($"the trace {_file.Name} is not written any further: {failure.Message}");
            _isClosed = true;
            _file.Dispose();
        }
    }
}
