using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading;
using Qcow2Blk.Devices;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Image;
using Qcow2Blk.Logging;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Support;
using Qcow2Blk.Uring;

namespace Qcow2Blk.Tests.Devices;

/// <summary>A folder of images, and a loop's own thread to open chains of them on.</summary>
internal sealed class ChainScene : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly OffloadPool _offload = new(1);
    private readonly EventLoop _loop;

    public ChainScene()
    {
        _loop = new EventLoop(0, _offload);
        _loop.Start();
    }

    public string Folder => _directory.Path;

    public ILog Log { get; init; } = new ListLog();

    public string File(string name) => _directory.File(name);

    /// <summary>The image, written through the page cache.</summary>
    public static AttachOptions Options(string image) =>
        new() { Image = image, SocketPath = "/s", Cache = CacheMode.Writeback, CacheSize = 1 << 20 };

    /// <summary>Opens a chain, does something with it on the loop, and closes it.</summary>
    /// <returns>what was opened, the top first</returns>
    public IReadOnlyList<ChainLink> Open(
        AttachOptions options, Func<IDisk, LoopTask<int>>? use = null, RecoveryLogChoice recovery = default)
    {
        using var done = new ManualResetEventSlim();
        IReadOnlyList<ChainLink> links = [];
        Exception? failure = null;
        _loop.PostFromAnyThread(() => RunAsync().Forget());
        if (!done.Wait(EngineScene.Patience))
            throw new TimeoutException("the loop does not answer");
        return failure is null ? links : throw failure;

        async LoopTask<int> RunAsync()
        {
            try
            {
                (var disk, links) = await ImageChain.OpenAsync(options, Log, recovery);
                var result = use is null ? 0 : await use(disk);
                var closed = await disk.CloseAsync();
                if (result < 0 || closed < 0)
                    throw new InvalidOperationException($"use: {result}, close: {closed}");
            }
            catch (Exception error)
            {
                failure = error;
            }

            done.Set();
            return 0;
        }
    }

    /// <summary>Files of the folder that this process has open.</summary>
    public IEnumerable<string> OpenFiles() => Directory.EnumerateFileSystemEntries("/proc/self/fd")
        .Select(link => new FileInfo(link).LinkTarget ?? "").Where(file => file.StartsWith(Folder + "/", StringComparison.Ordinal));

    /// <summary>Somebody else who has locked a file, for writing.</summary>
    public static IDisposable Writer(string path)
    {
        if (FileStorage.Open(path, readOnly: false, direct: false, out var file) < 0)
            throw new IOException(path);
        file!.Lock = ImageLock.Acquire(file.Descriptor, path, write: true);
        return file;
    }

    public void Dispose()
    {
        _loop.Dispose();
        _offload.Dispose();
        _directory.Dispose();
    }
}
