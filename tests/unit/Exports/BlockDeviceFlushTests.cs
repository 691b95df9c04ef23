using System;
using System.IO;
using System.Threading;
using Qcow2Blk.Exports;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Exports;

/// <summary>Calls that may wait for a device for ever.</summary>
public sealed class BlockDeviceFlushTests
{
    private static readonly TimeSpan s_plenty = TimeSpan.FromSeconds(30);

    [Fact]
    public void Call_that_hangs_is_given_up_and_its_late_result_is_seen_to()
    {
        using var hang = new ManualResetEventSlim();
        using var seen = new ManualResetEventSlim();
        var late = 0;
        var result = TimedCall.Run("test-hang", () =>
        {
            hang.Wait();
            return 7;
        }, TimeSpan.FromMilliseconds(50), value =>
        {
            late = value;
            seen.Set();
        });
        Assert.Equal(-Errno.ETIMEDOUT, result);
        hang.Set();
        Assert.True(seen.Wait(s_plenty, TestContext.Current.CancellationToken));
        Assert.Equal(7, late);
    }

    [Fact]
    public void Claim_of_what_does_not_exist_says_so()
    {
        using var directory = new TempDirectory();
        Assert.Equal(-Errno.ENOENT, BlockDeviceFlush.Claim(directory.File("none"), readOnly: false, s_plenty));
    }

    [Fact]
    public void Claim_is_a_descriptor_until_it_is_released()
    {
        using var directory = new TempDirectory();
        var path = directory.File("disk");
        File.WriteAllText(path, "x");
        var claim = BlockDeviceFlush.Claim(path, readOnly: false, s_plenty);
        Assert.True(claim >= 0, Errno.Text(claim));
        Assert.Equal(path, File.ResolveLinkTarget($"/proc/self/fd/{claim}", returnFinalTarget: false)?.FullName);
        Assert.Equal(0, BlockDeviceFlush.Release(claim, s_plenty));
    }
}
