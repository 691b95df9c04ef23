using System;
using System.Buffers.Binary;
using System.IO;
using System.Linq;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Exports;

/// <summary>No managed allocation per request once everything has been done before: what the loop allocates does not grow with the
/// requests.</summary>
public sealed class SteadyStateAllocationTests
{
    private const int AtOnce = 32;

    [Trait("Speed", "slow")]
    [Theory]
    [InlineData("read of data", 0, 0, 4096)]
    [InlineData("read of data, not aligned", 0, 100, 3000)]
    [InlineData("read of much data", 0, 0, 262144)]
    [InlineData("read of a hole", 0, 32 << 20, 65536)]
    [InlineData("write in place", 1, 0, 4096)]
    [InlineData("write in place, not aligned", 1, 100, 3000)]
    [InlineData("write of much data in place", 1, 0, 131072)]
    [InlineData("flush", 3, 0, 0)]
    [InlineData("zeroes where zeroes are", 6, 32 << 20, 65536)]
    public void Requests_of_one_kind_allocate_nothing(string kind, int command, int offset, int length)
    {
        SkipInDebugBuilds();
        using var directory = new TempDirectory();
        var image = Path.Combine(directory.Path, "disk.qcow2");
        QemuImg.Create(image, "64M");
        QemuImg.Io(image, "write -P 1 0 16M");
        using var served = new ServedImage(image);
        var rounds = length > 65536 ? 160 : command == 1 && offset == 100 ? 10 : 300;
        var (requests, replies) = Round(command, offset, length);

        for (var i = 0; i < 2 * rounds; i++)
            served.Round(requests, replies);
        var before = served.Allocated();
        for (var i = 0; i < rounds; i++)
            served.Round(requests, replies);
        var allocated = served.Allocated() - before;

        // Measuring allocates a little, and a pool may grow once more; one object for each request would be at least 24 bytes each.
        Assert.True(allocated < 2 * rounds * AtOnce, $"{kind}: {allocated} bytes for {rounds * AtOnce} requests");
        Assert.Equal(0u, BinaryPrimitives.ReadUInt32BigEndian(replies.AsSpan(4)));
    }

    [Trait("Speed", "slow")]
    [Theory]
    [InlineData(0, 4096)]
    [InlineData(1, 4096)]
    [InlineData(1, 131072)]
    [InlineData(3, 0)]
    public void Requests_are_answered_by_a_kernel_that_refuses_most_submissions(int command, int length)
    {
        using var directory = new TempDirectory();
        var image = Path.Combine(directory.Path, "disk.qcow2");
        QemuImg.Create(image, "64M");
        using var served = new ServedImage(image);
        var (requests, replies) = Round(command, 0, length);
        var random = new Random(1);
        served.RefuseSubmissions(() => random.Next(4) switch { 0 => 0, 1 => -Errno.EAGAIN, _ => -Errno.EBUSY });

        for (var i = 0; i < 20; i++)
        {
            served.Round(requests, replies);
            for (var reply = 0; reply < replies.Length; reply += 16 + (command == 0 ? length : 0))
                Assert.Equal(0u, BinaryPrimitives.ReadUInt32BigEndian(replies.AsSpan(reply + 4)));
        }

        served.RefuseSubmissions(null);
    }

    [Fact]
    public void An_allocation_on_the_loop_would_be_seen()
    {
        using var directory = new TempDirectory();
        var image = Path.Combine(directory.Path, "disk.qcow2");
        QemuImg.Create(image, "1M");
        using var served = new ServedImage(image);

        var before = served.Allocated();
        served.AllocateOnLoop(1000);

        Assert.InRange(served.Allocated() - before, 1000, 10000);
    }

    private static (byte[] Requests, byte[] Replies) Round(int command, int offset, int length)
    {
        const uint magic = 0x25609513;
        var requests = Enumerable.Range(0, AtOnce).SelectMany(i =>
        {
            var request = new byte[28 + (command == 1 ? length : 0)];
            BinaryPrimitives.WriteUInt32BigEndian(request, magic);
            BinaryPrimitives.WriteUInt16BigEndian(request.AsSpan(6), (ushort)command);
            BinaryPrimitives.WriteUInt64BigEndian(request.AsSpan(8), (ulong)i);
            BinaryPrimitives.WriteUInt64BigEndian(request.AsSpan(16), (ulong)(offset + (length == 0 ? 0 : i * 262144)));
            BinaryPrimitives.WriteUInt32BigEndian(request.AsSpan(24), (uint)length);
            return request;
        }).ToArray();
        return (requests, new byte[AtOnce * (16 + (command == 0 ? length : 0))]);
    }

    private static void SkipInDebugBuilds()
    {
#if DEBUG
        Assert.Skip("debug builds make a class of every asynchronous method");
#endif
    }
}
