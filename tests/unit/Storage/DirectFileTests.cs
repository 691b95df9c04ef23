using System;
using System.IO;
using System.Runtime.InteropServices;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Storage;

/// <summary>
/// What is written with O_DIRECT has no second copy in the page cache, which the kernel would write back over it, or complain of with
/// EIO at the next sync.
/// </summary>
public sealed partial class DirectFileTests : IDisposable
{
    private const int Length = 256 * 1024;
    private const int CacheStatNumber = 451;

    private readonly TempDirectory _directory = new();
    private readonly LoopOfThisTest _loop = new();

    public void Dispose()
    {
        _loop.Dispose();
        _directory.Dispose();
    }

    [Theory]
    [InlineData(512, 512)]
    [InlineData(512, 8192)]
    [InlineData(4096 + 1024, 2048)]
    [InlineData(8192 - 512, 1024)]
    [InlineData(8192 - 512, 65536 + 1024)]
    [InlineData(65536, 65536)]
    [InlineData(Length - 1024, 1024)]
    [InlineData(Length - 512, 65536)]
    [InlineData(Length + 512, 1024)]
    public void Parts_of_blocks_that_are_punched_or_zeroed_are_not_cached(int offset, int length)
    {
        foreach (var isPunched in new[] { true, false })
        {
            using var file = Filled();
            if (file is null)
                return;
            Assert.Equal(0, _loop.Run(() => isPunched ? file.PunchAsync(offset, length) : file.ZeroAsync(offset, length)));

            Assert.Equal(0, CachedPages(file.Path));
            Assert.Equal(Length, file.Length);
            var bytes = File.ReadAllBytes(file.Path);
            Assert.Equal(Length, bytes.Length);
            for (var i = 0; i < Length; i++)
                Assert.Equal(i >= offset && i < offset + length ? 0 : 7, bytes[i]);
        }
    }

    [Fact]
    public void Parts_of_blocks_that_are_holes_stay_holes()
    {
        using var file = Filled();
        if (file is null)
            return;
        Assert.Equal(0, _loop.Run(() => file.PunchAsync(0, Length / 2)));
        var before = Blocks();
        Assert.Equal(0, _loop.Run(() => file.PunchAsync(512, 65536)));
        Assert.Equal(0, _loop.Run(() => file.PunchAsync(66048, 512)));
        Assert.Equal(before, Blocks());

        ulong Blocks() => Stat.OfFile(file.Descriptor, out var status) == 0 ? status.stx_blocks : throw new IOException();
    }

    [Fact]
    public void File_that_grows_keeps_what_is_being_written_behind_its_end()
    {
        using var file = Filled();
        if (file is null)
            return;
        Assert.Equal(0, _loop.Run(async () =>
        {
            var buffer = LoopScheduler.Current.Buffers.Rent(4096);
            buffer.Span.Fill(9);

            // It is not sent before something is awaited.
            var write = file.WriteAsync(4 * Length, buffer);
            var error = await file.SetLengthAsync(2 * Length);
            Assert.Equal((4 * Length) + 4096, file.Length);
            error = error == 0 ? await write : error;
            LoopScheduler.Current.Buffers.Return(buffer);
            return error;
        }));
        Assert.Equal((4 * Length) + 4096, new FileInfo(file.Path).Length);

        // What is cut off is gone, and does not come back.
        Assert.Equal(0, _loop.Run(() => file.SetLengthAsync(Length)));
        Assert.Equal(0, _loop.Run(() => file.SetLengthAsync(2 * Length)));
        Assert.Equal(2 * Length, new FileInfo(file.Path).Length);
    }

    /// <summary>A file of sevens that was written past the page cache; null where there is no O_DIRECT in sectors.</summary>
    private FileStorage? Filled()
    {
        var path = _directory.File($"direct-{Guid.NewGuid():N}");
        File.WriteAllBytes(path, []);
        if (FileStorage.Open(path, readOnly: false, direct: true, out var file) < 0 || file!.OffsetAlignment > 512)
        {
            file?.Dispose();
            return null;
        }

        Assert.Equal(0, _loop.Run(async () =>
        {
            var buffer = LoopScheduler.Current.Buffers.Rent(Length);
            buffer.Span.Fill(7);
            var error = await file.WriteAsync(0, buffer);
            LoopScheduler.Current.Buffers.Return(buffer);
            return error;
        }));
        Assert.Equal(0, CachedPages(path));
        return file;
    }

    /// <summary>Pages of the file that are in the page cache; 0 where the kernel does not tell (before 6.5).</summary>
    /// <remarks>Of mincore(2) they are hidden: the kernel has read only the block of each that it changed.</remarks>
    private static unsafe int CachedPages(string path)
    {
        using var handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var range = stackalloc ulong[2];
        var found = stackalloc ulong[5];
        return CacheStat(CacheStatNumber, (int)handle.DangerousGetHandle(), range, found, 0) < 0 ? 0 : (int)found[0];
    }

    [LibraryImport("libc", EntryPoint = "syscall")]
    private static unsafe partial nint CacheStat(nint number, int fd, ulong* range, ulong* found, uint flags);
}
