using Qcow2Blk.Image.Check;
using Qcow2Blk.Tests.Shared.Simulation;
using Xunit;

namespace Qcow2Blk.Tests.Image;

/// <summary>The refcount table outgrows its place: with the smallest clusters and widest refcounts after every few megabytes.</summary>
public sealed class RefcountGrowthTests
{
    private const int EIO = 5;
    private const int Megabyte = 1 << 20;
    private const string Smallest = "cluster_size=512,refcount_bits=64";

    [Fact]
    public void Table_grows_past_what_the_counts_of_one_slice_can_hold()
    {
        const int megabytes = 210;
        using var run = new OneImage(OneImage.Make(Smallest, $"{megabytes}M"));

        for (var at = 0; at < megabytes; at++)
            Assert.Equal(0, run.Write((long)at * Megabyte, Megabyte, (byte)(1 + (at % 200))));
        Assert.Equal(0, run.Flush());

        for (var at = 0; at < megabytes; at += 13)
            Assert.Equal(0, run.Expect((long)at * Megabyte, Megabyte, (byte)(1 + (at % 200))));
        Assert.Equal(0, run.Close().Leaks);
    }

    [Fact]
    public void Growth_does_not_write_over_a_table_that_lies_past_what_is_counted()
    {
        const ulong copied = 1UL << 63;
        var image = OneImage.Make(Smallest, "4M", "write -P 1 0 1900k");
        var table = image.Bytes(image.L2Table(), 512);
        image.Write(2 * Megabyte, table);
        image.Put64(image.L1Table(), copied | (2 * Megabyte));
        using var run = new OneImage(image);

        var result = run.Write(2 * Megabyte, 512 << 10, 2);
        if (result == 0)
            result = run.Flush();

        Assert.Equal(-EIO, result);
        Assert.Equal(table, run.Storage.Content.Bytes(2 * Megabyte, 512));
    }

    [Fact]
    public void Growth_that_fails_at_any_step_leaves_a_sound_image_that_grows_later()
    {
        // The table of one cluster counts 2 MiB of file, which is nearly reached.
        var image = OneImage.Make(Smallest, "4M", "write -P 1 0 1900k");
        for (var failing = 0; failing < 500; failing++)
        {
            using var run = new OneImage(image.Copy(), seed: failing + 1, alignment: 512);
            var (changes, failed) = (0, false);
            var what = "";
            run.Storage.Fault = operation =>
            {
                if (operation.Kind is StorageOperationKind.Read or StorageOperationKind.Flush || changes++ != failing)
                    return 0;
                failed = true;
                what = $"{operation.Kind} of {operation.Length} bytes at 0x{operation.Offset:x}";
                return EIO;
            };
            var before = run.Storage.Content.RefcountTable();
            var result = run.Write(2 * Megabyte, 512 << 10, 2);
            if (result == 0)
                result = run.Flush();
            if (!failed)
            {
                Assert.Equal(0, result);
                Assert.NotEqual(before, run.Storage.Content.RefcountTable());
                Assert.True(failing > 10, "the growth took no steps");
                return;
            }

            // What a crash would leave now; then everything works again.
            var check = BytesChecker.Check(run.Storage.Content);
            Assert.True(check.Errors == 0,
                $"after a failed {what} (step {failing}): {(check.Errors == 0 ? "" : check.Findings[0].Message)}");
            if (failing % 2 == 0)
                Assert.Equal((0, 0), (run.Write(2 * Megabyte, Megabyte, 3), run.Expect(2 * Megabyte, Megabyte, 3)));
            run.Close();
            Reopened(run.Storage.Content);
        }

        Assert.Fail("the steps never ended");
    }

    private static void Reopened(SparseBytes content)
    {
        using var again = new OneImage(content);
        Assert.Equal(0, again.Expect(0, 1900 << 10, 1));
        Assert.Equal((0, 0), (again.Write(2 * Megabyte, 2 * Megabyte, 4), again.Flush()));
        Assert.Equal((0, 0), (again.Expect(0, 1900 << 10, 1), again.Expect(2 * Megabyte, 2 * Megabyte, 4)));
        again.Close();
    }

    [Fact]
    public void Close_ends_when_a_sync_of_the_growth_has_failed()
    {
        var image = OneImage.Make(Smallest, "4M", "write -P 1 0 1900k");
        for (var failing = 0; failing < 30; failing++)
        {
            using var run = new OneImage(image.Copy(), seed: failing + 1);
            var syncs = 0;
            run.Storage.Fault = operation => operation.Kind == StorageOperationKind.Flush && syncs++ == failing ? EIO : 0;
            _ = run.Write(2 * Megabyte, 512 << 10, 2);
            var result = run.Flush();
            if (syncs <= failing)
            {
                Assert.True(failing > 1, "there were no syncs");
                return;
            }

            Assert.Equal(-EIO, result);

            Assert.Equal(-EIO, run.Loop.Run(run.Image.CloseAsync));

            Assert.Equal(0, BytesChecker.Check(run.Storage.Content).Errors);
            Reopened(run.Storage.Content);
        }

        Assert.Fail("the syncs never ended");
    }
}
