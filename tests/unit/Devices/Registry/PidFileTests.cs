using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Registry;

/// <summary>A pid file overwrites nothing that is not a pid file of ours, and removes nobody else's.</summary>
[System.Runtime.Versioning.SupportedOSPlatform("linux")]
public sealed class PidFileTests : IDisposable
{
    /// <summary>No process has a number so high (PID_MAX_LIMIT is 1 &lt;&lt; 22).</summary>
    private const int NobodysNumber = 1 << 23;

    private readonly TempDirectory _folder = new();
    private readonly string _path;

    public PidFileTests() => _path = _folder.File("pid");

    public void Dispose() => _folder.Dispose();

    private static string Own => $"{Environment.ProcessId}\n";

    private void AssertRefused(string why)
    {
        var error = Assert.Throws<OutcomeException>(() => PidFile.Write(_path));
        Assert.Contains(_path, error.What, StringComparison.Ordinal);
        Assert.Contains(why, error.Why, StringComparison.Ordinal);
    }

    private static void Run(string program, params string[] arguments)
    {
        using var process = Process.Start(program, arguments);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }

    [Fact]
    public void File_holds_our_number_until_the_end()
    {
        var file = PidFile.Write(_path);
        Assert.Equal(Own, File.ReadAllText(_path));
        file.Dispose();
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public void Longer_content_of_a_server_before_is_replaced_as_a_whole()
    {
        File.WriteAllText(_path, "123456789012345\nand more\n");
        using var file = PidFile.Write(_path);
        Assert.Equal(Own, File.ReadAllText(_path));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Link_is_not_followed(bool leadsSomewhere)
    {
        var precious = _folder.File("precious");
        if (leadsSomewhere)
            File.WriteAllText(precious, "data");
        File.CreateSymbolicLink(_path, precious);
        AssertRefused("symbolic link");
        Assert.Equal(leadsSomewhere ? "data" : null, File.Exists(precious) ? File.ReadAllText(precious) : null);
    }

    [Fact]
    public void Second_name_of_another_file_is_not_written_through()
    {
        var precious = _folder.File("precious");
        File.WriteAllText(precious, "data");
        Assert.Equal(0, Unistd.Link(precious, _path));
        AssertRefused("hard links");
        Assert.Equal("data", File.ReadAllText(precious));
    }

    [Fact]
    public void Pipe_is_refused_and_not_waited_for()
    {
        Run("mkfifo", _path);
        AssertRefused("no such device"); // Nobody reads it.
        using var reader = new FileStream(_path, FileMode.Open, FileAccess.ReadWrite);
        AssertRefused("not a regular file");
        PidFile.RemoveDead(_path, NobodysNumber);
        Assert.True(File.Exists(_path));
    }

    [Fact]
    public void Device_is_refused()
    {
        var error = Assert.Throws<OutcomeException>(() => PidFile.Write("/dev/null"));
        Assert.Equal("it is not a regular file", error.Why);
    }

    [Fact]
    public void Directory_is_refused()
    {
        Directory.CreateDirectory(_path);
        AssertRefused("is a directory");
    }

    [Fact]
    public void File_of_another_user_is_refused()
    {
        Assert.SkipUnless(Unistd.EffectiveUser() == 0, "only root can give a file away");
        File.WriteAllText(_path, "data");
        Run("chown", "65534", _path);
        AssertRefused("belongs to user 65534");
        Assert.Equal("data", File.ReadAllText(_path));
    }

    [Fact]
    public void Number_that_another_server_wrote_since_stays()
    {
        var file = PidFile.Write(_path);
        File.WriteAllText(_path, $"{NobodysNumber}\n");
        file.Dispose();
        Assert.Equal($"{NobodysNumber}\n", File.ReadAllText(_path));
    }

    [Fact]
    public void Another_file_of_that_name_stays()
    {
        var file = PidFile.Write(_path);
        File.Move(_path, _folder.File("kept")); // Else the new one may get its inode.
        File.WriteAllText(_path, Own);
        file.Dispose();
        Assert.Equal(Own, File.ReadAllText(_path));
    }

    [Fact]
    public void File_of_a_dead_server_is_removed()
    {
        File.WriteAllText(_path, $"{NobodysNumber}\n");
        PidFile.RemoveDead(_path, NobodysNumber);
        Assert.Empty(Directory.GetFileSystemEntries(_folder.Path));
    }

    [Fact]
    public void File_of_another_server_is_not_removed_with_a_dead_one()
    {
        foreach (var content in (string[])[$"{NobodysNumber}1\n", $"1{NobodysNumber}\n", "7\n", "", "\n", "-1\n", new string('1', 100)])
        {
            File.WriteAllText(_path, content);
            PidFile.RemoveDead(_path, NobodysNumber);
            Assert.Equal(content, File.ReadAllText(_path));
        }
    }

    [Fact]
    public void Number_that_another_process_has_by_now_stays()
    {
        File.WriteAllText(_path, Own);
        PidFile.RemoveDead(_path, Environment.ProcessId);
        Assert.Equal(Own, File.ReadAllText(_path));
    }

    [Fact]
    public void Link_to_a_dead_servers_file_is_not_removed()
    {
        File.WriteAllText(_folder.File("file"), $"{NobodysNumber}\n");
        File.CreateSymbolicLink(_path, _folder.File("file"));
        PidFile.RemoveDead(_path, NobodysNumber);
        Assert.Equal(2, Directory.GetFileSystemEntries(_folder.Path).Length);
    }
}
