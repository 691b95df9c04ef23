using System;
using System.Collections.Generic;
using System.Linq;
using FsCheck;
using FsCheck.Fluent;
using Qcow2Blk.Buffers;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image.Model;

/// <summary>Random requests on images of qemu's making: the engine, an array and in the end qemu must agree.</summary>
public sealed class EngineModelTests
{
    private const int FlushError = 5;

    public static IEnumerable<TheoryDataRow<string>> Images => ModelImage.Matrix.Keys.Select(name => new TheoryDataRow<string>(name));

    [Trait("Speed", "slow")]
    [Theory]
    [MemberData(nameof(Images))]
    public void Any_requests_leave_the_disk_that_an_array_would_be(string name)
    {
        var subject = ModelImage.Get(name);
        Check(12, (operations, seed) =>
        {
            var content = subject.Files[0].Bytes.Copy();
            var model = Run(subject, content, operations, seed);

            Assert.True(BytesChecker.Check(content).IsClean, Describe(content));
            subject.AssertSnapshotHolds(content);
            subject.AssertQemuAgrees(content, model, leaksAllowed: false);
        });
    }

    [Trait("Speed", "slow")]
    [Theory]
    [MemberData(nameof(Images))]
    public void Any_errno_leaves_a_sound_image_that_goes_on_working(string name)
    {
        var subject = ModelImage.Get(name);
        Check(12, (operations, seed) =>
        {
            var content = subject.Files[0].Bytes.Copy();
            var model = RunWithFaults(subject, content, operations, seed);

            Assert.True(BytesChecker.Check(content).Errors == 0, Describe(content));
            subject.AssertSnapshotHolds(content);
            subject.AssertQemuAgrees(content, model, leaksAllowed: true);
        });
    }

    [Theory]
    [InlineData("clusters of 65536")]
    [InlineData("clusters of 512, refcounts of 64 bits")]
    [InlineData("zlib with snapshot")]
    [InlineData("clusters of 1024, refcounts of 2 bits")]
    public void Sync_that_failed_stops_writing_and_leaves_a_sound_image(string name)
    {
        var subject = ModelImage.Get(name);
        Check(20, (operations, seed) =>
        {
            var content = subject.Files[0].Bytes.Copy();
            using var loop = new SimulatedLoop(seed);
            var storage = new MemoryStorage(loop, content, Alignment(subject, seed));
            loop.Run(async () =>
            {
                var image = await subject.OpenAsync(loop, storage, Options(seed));
                storage.Fault = operation => operation.Kind == StorageOperationKind.Flush ? FlushError : 0;
                await new DiskModel(subject, image) { Healed = static () => { } }.RunAsync(operations);
                using var buffer = new TableBuffer(4096);

                // Not zeroes: those may be there already, and then there is nothing that a sync could fail for.
                var payload = buffer.Take(4096);
                payload.Span.Fill(0x5a);
                var failed = await image.WriteAsync(0, payload, forceUnitAccess: true);
                Assert.Equal(-FlushError, failed);
                Assert.Equal(0, await image.ReadAsync(0, buffer.Take(4096)));
                Assert.Equal(-FlushError, await image.CloseAsync());
                return 0;
            });

            Assert.True(BytesChecker.Check(content).Errors == 0, Describe(content));
            subject.AssertSnapshotHolds(content);
        });
    }

    private static byte[] Run(ModelImage subject, SparseBytes content, Operation[] operations, int seed)
    {
        using var loop = new SimulatedLoop(seed);
        byte[] model = [];
        loop.Run(async () =>
        {
            var image = await subject.OpenAsync(loop, new MemoryStorage(loop, content, Alignment(subject, seed)), Options(seed));
            var disk = new DiskModel(subject, image);
            await disk.RunAsync(operations);
            await disk.CompareAsync(image);
            Assert.Equal(0, await image.CloseAsync());

            var again = await subject.OpenAsync(loop, new MemoryStorage(loop, content, readOnly: true),
                new ImageOptions { ReadOnly = true });
            await disk.CompareAsync(again);
            Assert.Equal(0, await again.CloseAsync());
            model = disk.Content;
            return 0;
        });
        return model;
    }

    /// <summary>One operation in ten of the storage fails, or the space ends, until a batch has ended; then all is well again.</summary>
    private static byte[] RunWithFaults(ModelImage subject, SparseBytes content, Operation[] operations, int seed)
    {
        using var loop = new SimulatedLoop(seed);
        byte[] model = [];
        var storage = new MemoryStorage(loop, content, Alignment(subject, seed));
        var random = new Random(seed);
        loop.Run(async () =>
        {
            var image = await subject.OpenAsync(loop, storage, Options(seed));
            var disk = new DiskModel(subject, image) { Healed = () => (storage.Fault, storage.SpaceLimit) = (null, long.MaxValue) };
            for (var start = 0; start < operations.Length; start += 6)
            {
                storage.Fault = operation => operation.Kind != StorageOperationKind.Flush && random.Next(10) == 0 ? 5 : 0;
                if (random.Next(3) == 0)
                    (storage.Fault, storage.SpaceLimit) = (null, content.Length);
                await disk.RunAsync([.. operations.Skip(start).Take(6)]);
                disk.Healed();
            }

            await disk.CompareAsync(image);
            Assert.Equal(0, await image.CloseAsync());
            model = disk.Content;
            return 0;
        });
        return model;
    }

    private static void Check(int tests, Action<Operation[], int> property)
    {
        var seeds = Gen.Choose(0, int.MaxValue - 1).ToArbitrary();
        Prop.ForAll(Operation.Lists, seeds, property)
            .Check(Config.QuickThrowOnFailure.WithMaxTest(tests).WithStartSize(10).WithEndSize(60));
    }

    private static ImageOptions Options(int seed) => new()
    {
        Report = BrokenRule.Refuse,
        CacheBytes = seed % 3 == 0 ? 16 << 10 : 1 << 20,
        DetectZeroes = (DetectZeroes)(seed / 3 % 3),
    };

    private static int Alignment(ModelImage subject, int seed) => (seed / 9 % 3) switch
    {
        0 => 1,
        1 => 512,
        _ => Math.Min(4096, subject.ClusterSize),
    };

    private static string Describe(SparseBytes content)
    {
        var result = BytesChecker.Check(content);
        return $"{result.Errors} errors, {result.Leaks} leaks: "
            + string.Join("; ", result.Findings.Take(5).Select(finding => finding.Message));
    }
}
