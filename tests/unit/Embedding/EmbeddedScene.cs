using System;
using System.Collections.Concurrent;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using Qcow2Blk.Embedding;
using Qcow2Blk.Logging;
using Qcow2Blk.Tests.Support;

namespace Qcow2Blk.Tests.Embedding;

/// <summary>An image that the test has open for itself, and memory for its requests.</summary>
internal sealed unsafe class EmbeddedScene : IDisposable
{
    public const int Cluster = 64 * 1024;
    private const int MemoryBytes = 4 << 20;

    private readonly TempDirectory _directory = new();
    private readonly nint _memory = (nint)NativeMemory.AlignedAlloc(MemoryBytes, 4096);
    private readonly KeptLog _log = new();
    private bool _closed;

    /// <summary>The first 16 clusters are filled with their number and 1, the others are empty.</summary>
    public EmbeddedScene(string size = "16M", string createOptions = "", params (string Name, string Value)[] options)
    {
        Path = _directory.File("disk.qcow2");
        QemuImg.Create(Path, size, createOptions);
        var writes = new string[16];
        for (var i = 0; i < writes.Length; i++)
            writes[i] = $"write -P {i + 1} {i * Cluster} {Cluster}";
        QemuImg.Io(Path, writes);
        Settings = new OpenSettings();
        foreach (var (name, value) in options)
            Settings.Set(name, value);
    }

    public string Path { get; }

    public OpenSettings Settings { get; }

    public OpenImage Image { get; private set; } = null!;

    /// <summary>Memory of 4 MiB, page-aligned.</summary>
    public nint Memory => _memory;

    public OpenImage Open(bool readOnly = false, bool isDriven = false) =>
        Image = OpenImage.Open(Settings.OfImage(Path, readOnly), Settings.Files, isDriven, _log);

    /// <summary>What was logged as an error: why an image stopped, which no result of a request says.</summary>
    public IReadOnlyCollection<string> Errors => _log.Errors;

    public long Read(long offset, int length, int at = 0) =>
        Image.Execute(new RequestShape(RequestKind.Read, _memory + at, offset, length, RequestFlags.None));

    public long Write(long offset, int length, byte value, int at = 0, RequestFlags flags = RequestFlags.None)
    {
        Bytes(length, at).Fill(value);
        return Image.Execute(new RequestShape(RequestKind.Write, _memory + at, offset, length, flags));
    }

    public Span<byte> Bytes(int length, int at = 0) => new((void*)(_memory + at), length);

    public int Close()
    {
        _closed = true;
        return Image.Close();
    }

    public void Dispose()
    {
        if (Image is not null && !_closed)
            Image.Close();
        Settings.Close();
        NativeMemory.AlignedFree((void*)_memory);
        _directory.Dispose();
    }

    private sealed class KeptLog : ILog
    {
        public ConcurrentQueue<string> Errors { get; } = new();

        public LogLevel Level => LogLevel.Debug;

        public void Write(LogLevel level, string message)
        {
            if (level == LogLevel.Error)
                Errors.Enqueue(message);
        }
    }
}
