using System;
using System.Collections.Generic;
using System.Diagnostics;
using System.IO;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Registry;

/// <summary>Where servers are found, and what is not taken for that place. The folder of a test stands for /tmp.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
public sealed class RuntimeDirectoryTests : IDisposable
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private const UnixFileMode Everybody = (UnixFileMode)0b111_111_111;

    private readonly TempDirectory _folder = new();

    public RuntimeDirectoryTests() => File.SetUnixFileMode(_folder.Path, Everybody | UnixFileMode.StickyBit);

    public void Dispose() => _folder.Dispose();

    private string Place => _folder.File("qcow2blk-1000");

    private RuntimeDirectory Shared => RuntimeDirectory.InShared(Place);

    /// <summary>Refused to those who make it, and to those who only look.</summary>
    private void AssertRefused(RuntimeDirectory directory, string why)
    {
        var made = Assert.Throws<OutcomeException>(directory.Ensure);
        var listed = Assert.Throws<OutcomeException>(() => new DeviceRegistry(directory).List());
        Assert.Contains(why, made.Why, StringComparison.Ordinal);
        Assert.Equal(made.Message, listed.Message);
        Assert.Contains(directory.Path, made.What, StringComparison.Ordinal);
        Assert.Contains(RuntimeDirectory.Variable, made.Hint, StringComparison.Ordinal);
        Assert.True(made.IsRuntimeDirectory);
    }

    [Theory]
    [InlineData(0, null, null, "", "/run/qcow2blk")]
    [InlineData(0, null, "/run/user/0", "/run/user/0", "/run/qcow2blk")]
    [InlineData(1000, null, "/run/user/1000", "/run/user/1000", "/run/user/1000/qcow2blk")]
    [InlineData(1000, null, "/home/u/run", "/home/u/run /run/user/1000", "/home/u/run/qcow2blk")]
    [InlineData(1000, null, null, "/run/user/1000", "/run/user/1000/qcow2blk")]
    [InlineData(1000, null, "", "/run/user/1000", "/run/user/1000/qcow2blk")]
    [InlineData(1000, null, "/run/user/7", "/run/user/1000", "/run/user/1000/qcow2blk")]
    [InlineData(1000, null, "relative", "relative", "/tmp/qcow2blk-1000")]
    [InlineData(1000, null, "/run/user/7", "", "/tmp/qcow2blk-1000")]
    [InlineData(1000, null, null, "", "/tmp/qcow2blk-1000")]
    [InlineData(1000, "/own/", "/run/user/1000", "/run/user/1000", "/own")]
    [InlineData(0, "/own/../other", null, "", "/other")]
    public void First_place_that_can_be_ours_is_taken(uint user, string? chosen, string? session, string ours, string expected)
    {
        var environment = new Dictionary<string, string?> { [RuntimeDirectory.Variable] = chosen, ["XDG_RUNTIME_DIR"] = session };

        var directory = RuntimeDirectory.Choose(user, environment.GetValueOrDefault,
            path => Array.IndexOf(ours.Split(' '), path) >= 0);

        Assert.Equal((expected, expected == "/tmp/qcow2blk-1000"), (directory.Path, directory.IsShared));
    }

    [Fact]
    public void Fallback_is_checked_as_strictly_when_it_comes_by_the_variable() =>
        Assert.True(RuntimeDirectory.Choose(7, name => name == RuntimeDirectory.Variable ? "/tmp/qcow2blk-7" : null, _ => false).IsShared);

    [Fact]
    public void Relative_path_stays_where_the_process_began() =>
        Assert.Equal(Path.Combine(Environment.CurrentDirectory, "run"), RuntimeDirectory.Choose(0, _ => "run", _ => false).Path);

    [Fact]
    public void Missing_directory_is_made_for_its_owner_alone_and_looking_makes_none()
    {
        Assert.False(Shared.Exists());
        Assert.Empty(new DeviceRegistry(Shared).List());
        Assert.False(Directory.Exists(Place));
        Shared.Ensure();
        Assert.Equal(OwnerOnly, File.GetUnixFileMode(Place));
        Assert.True(Shared.Exists());
        Shared.Ensure();
    }

    [Fact]
    public void Link_in_the_place_is_refused_though_it_leads_to_a_directory_of_ours()
    {
        Directory.CreateDirectory(_folder.File("elsewhere"), OwnerOnly);
        File.CreateSymbolicLink(Place, _folder.File("elsewhere"));
        AssertRefused(Shared, "symbolic link");
        Assert.Empty(Directory.GetFileSystemEntries(_folder.File("elsewhere")));
    }

    [Fact]
    public void File_in_the_place_is_refused()
    {
        File.WriteAllText(Place, "");
        AssertRefused(Shared, "not a directory");
        AssertRefused(RuntimeDirectory.At(Place), "not a directory");
    }

    [Fact]
    public void Directory_of_another_user_is_refused()
    {
        Assert.SkipUnless(Unistd.EffectiveUser() == 0, "only root can give a directory away");
        Directory.CreateDirectory(Place, OwnerOnly);
        Run("chown", "65534", Place);
        AssertRefused(Shared, "belongs to user 65534");
        AssertRefused(RuntimeDirectory.At(Place), "belongs to user 65534");
    }

    [Theory]
    [InlineData(0b111_101_000, "750", true)]
    [InlineData(0b111_000_001, "701", true)]
    [InlineData(0b111_010_000, "720", false)]
    [InlineData(0b111_000_010, "702", false)]
    public void Directory_that_others_may_use_is_refused(int mode, string shown, bool onlyWhereShared)
    {
        Directory.CreateDirectory(Place);
        File.SetUnixFileMode(Place, (UnixFileMode)mode);
        AssertRefused(Shared, $"mode {shown}");
        if (onlyWhereShared)
            RuntimeDirectory.At(Place).Ensure();
        else
            AssertRefused(RuntimeDirectory.At(Place), $"mode {shown}");
    }

    [Fact]
    public void Fallback_is_refused_where_others_could_replace_it()
    {
        Shared.Ensure();
        File.SetUnixFileMode(_folder.Path, Everybody);
        AssertRefused(Shared, "others could replace it");
        Assert.SkipUnless(Unistd.EffectiveUser() == 0, "only root can give a directory away");
        File.SetUnixFileMode(_folder.Path, OwnerOnly);
        Shared.Ensure();
        Run("chown", "65534", _folder.Path);
        AssertRefused(Shared, "others could replace it");
    }

    [Fact]
    public void Living_device_keeps_its_directory_in_tmp_from_those_who_clean_it()
    {
        // As systemd-tmpfiles does: what it cannot lock for itself alone, it passes over.
        Shared.Ensure();
        var record = new DeviceRecord
        {
            Name = "disk",
            Image = "/disk.qcow2",
            Pid = 1,
            Started = default,
            Options = new AttachOptions { Image = "/disk.qcow2" }
        };
        var claim = DeviceClaim.TryTake(Shared, record, _ => false)!;
        Assert.Equal(1, Run("flock", "--exclusive", "--nonblock", Place, "true"));
        claim.Dispose();
        Assert.Equal(0, Run("flock", "--exclusive", "--nonblock", Place, "true"));
    }

    private static int Run(string program, params string[] arguments)
    {
        using var process = Process.Start(program, arguments);
        process.WaitForExit();
        return process.ExitCode;
    }
}
