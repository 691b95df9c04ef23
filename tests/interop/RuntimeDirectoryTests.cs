using System;
using System.Collections.Generic;
using System.IO;
using Xunit;

namespace Qcow2Blk.Tests.Interop;

/// <summary>
/// Machines without a place for state files and control sockets, or with a bad one: cron, containers, somebody who was in
/// /tmp first. Each test is a shell script in a mount namespace of its own with an empty /tmp and /run; $N runs a command
/// as user 65534 without any environment.
/// </summary>
public sealed class RuntimeDirectoryTests : IDisposable
{
    private const string Beginning = """
        mount -t tmpfs -o mode=1777 none /tmp; mount -t tmpfs none /run; cd "$D"
        N="setpriv --reuid=65534 --regid=65534 --clear-groups --bounding-set=-all env -i PATH=$PATH"

        """;

    /// <summary>Serves in the foreground until the disk was read, then ends by a signal; prints how that went.</summary>
    private const string Foreground = """
        foreground() {
            "$@" attach disk.qcow2 --socket "$D/s" --foreground --pid-file "$D/pid" >uri 2>warnings & server=$!
            while ! [ -s pid ] && kill -0 $server; do sleep 0.05; done
            echo "size $(nbdinfo --size "$(cat uri)")"
            kill $server; wait $server; echo "status $?"; cat warnings
            [ ! -e s ] && [ ! -e pid ] && echo "nothing left"
        }

        """;

    private readonly Folder _folder = new();
    private readonly string _image;

    public RuntimeDirectoryTests()
    {
        _image = _folder.Image("disk.qcow2", "3M");
        File.Copy(Command.Path, _folder.File("qcow2blk"));
        File.SetUnixFileMode(_image, (UnixFileMode)0b110_110_110);
        File.SetUnixFileMode(_folder.File(""), (UnixFileMode)0b111_111_111);
    }

    public void Dispose() => _folder.Dispose();

    private string Script(string text)
    {
        Assert.SkipUnless(Environment.UserName == "root", "not root: cannot be another user, nor have another /tmp");
        Assert.SkipUnless(Run.Program("unshare", "--mount", "true").Status == 0, "no mount namespace to be had here");
        var environment = new Dictionary<string, string>
        {
            ["D"] = _folder.File("").TrimEnd('/'),
            ["B"] = _folder.File("qcow2blk"),
            ["QCOW2BLK_RUNTIME_DIR"] = ""
        };
        var outcome = Run.Start(environment, "unshare", "--mount", "sh", "-c", "exec 2>&1\n" + Beginning + Foreground + text).Wait()
            .Passed();
        return outcome.Output;
    }

    [Fact]
    public void User_without_a_session_is_served_from_tmp_and_all_verbs_find_the_device()
    {
        var output = Script("""
            $N $B list; $N $B status; echo "before $?"
            $N $B attach disk.qcow2 --socket "$D/s" || exit
            stat -c '%U %a' /tmp/qcow2blk-65534
            $N $B list | cut -c1-13
            $N $B suspend disk && $N $B resume disk && $N $B detach disk && ls -A /tmp/qcow2blk-65534
            """);
        var lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["before 0", lines[1], "nobody 700", "NAME  STATE  ", "disk  running"], lines);
        Verdict.Clean(_image);
    }

    [Fact]
    public void Session_directory_is_found_without_its_variable_and_another_users_is_not_taken()
    {
        var output = Script("""
            mkdir -p /run/user/65534 /run/user/7; chmod 700 /run/user/*; chown 65534 /run/user/65534; chown 7 /run/user/7
            $N XDG_RUNTIME_DIR=/run/user/7 $B attach disk.qcow2 --socket "$D/s" || exit
            ls /run/user/65534/qcow2blk; $N $B detach disk; ls -A /tmp
            """);
        Assert.EndsWith("\ndisk.json\ndisk.sock\n", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("mkdir -m 700 /tmp/qcow2blk-65534", "belongs to user 0, and this is user 65534")]
    [InlineData("mkdir /run/trap; chown 65534 /run/trap; chmod 700 /run/trap; ln -s /run/trap /tmp/qcow2blk-65534", "symbolic link")]
    [InlineData("touch /tmp/qcow2blk-65534", "not a directory")]
    [InlineData("mkdir /tmp/qcow2blk-65534; chown 65534 /tmp/qcow2blk-65534; chmod 777 /tmp/qcow2blk-65534", "mode 777")]
    [InlineData("chmod 777 /tmp; $N mkdir -m 700 /tmp/qcow2blk-65534", "others could replace it")]
    public void Place_that_somebody_else_has_prepared_is_refused_and_the_foreground_goes_without(string preparation, string why)
    {
        var output = Script($$"""
            {{preparation}}
            $N $B attach disk.qcow2 --socket "$D/s"; echo "attach $?"
            $N $B list; echo "list $?"
            $N $B detach disk; echo "detach $?"
            $N $B attach disk.qcow2 --run 'nbdinfo --size "$uri"'; echo "run $?"
            foreground $N $B
            ls -A /tmp/qcow2blk-65534/ /run/trap 2>/dev/null | grep disk
            true
            """);
        var lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var refusal = lines[0];
        Assert.StartsWith("qcow2blk: cannot use /tmp/qcow2blk-65534", refusal, StringComparison.Ordinal);
        Assert.Contains(why, refusal, StringComparison.Ordinal);
        Assert.Equal(
            [
                refusal, "attach 1", refusal, "list 1", refusal, "detach 1", "3145728", "run 0",
                "size 3145728", "status 0", lines[^2], "nothing left",
            ],
            lines);
        Assert.StartsWith("qcow2blk: warning: cannot use /tmp/qcow2blk-65534", lines[^2], StringComparison.Ordinal);
        Assert.Contains("will not find this device", lines[^2], StringComparison.Ordinal);
        Verdict.Clean(_image);
    }

    [Fact]
    public void Root_with_a_read_only_run_is_refused_in_the_background_and_served_in_the_foreground()
    {
        var output = Script("""
            mount -o remount,ro /run
            $B attach disk.qcow2 --socket "$D/s"; echo "attach $?"
            $B list; echo "list $?"
            $B status; echo "status $?"
            $B detach disk >/dev/null 2>&1; echo "detach $?"
            $B attach disk.qcow2 --run 'nbdinfo --size "$uri"'; echo "run $?"
            foreground $B
            """);
        var lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.StartsWith("qcow2blk: cannot create /run/qcow2blk: read-only file system", lines[0], StringComparison.Ordinal);
        Assert.Equal(
            ["attach 1", "list 0", "status 0", "detach 3", "3145728", "run 0", "size 3145728", "status 0", lines[^2], "nothing left"],
            lines[1..]);
        Assert.StartsWith("qcow2blk: warning: cannot create /run/qcow2blk", lines[^2], StringComparison.Ordinal);
        Verdict.Clean(_image);
    }

    [Fact]
    public void Directory_that_can_no_longer_be_written_is_read_and_the_foreground_goes_without()
    {
        var output = Script("""
            cp disk.qcow2 first.qcow2; chmod 666 first.qcow2
            $N $B attach first.qcow2 --socket "$D/first" >/dev/null
            chmod 500 /tmp/qcow2blk-65534
            $N $B list | cut -c1-14
            foreground $N $B
            chmod 700 /tmp/qcow2blk-65534; $N $B detach first && ls -A /tmp/qcow2blk-65534
            """);
        var lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["NAME   STATE  ", "first  running", "size 3145728", "status 0", lines[^2], "nothing left"], lines);
        Assert.Contains("cannot write /tmp/qcow2blk-65534/disk.json: permission denied", lines[^2], StringComparison.Ordinal);
    }

    [Fact]
    public void Full_run_is_no_reason_to_serve_without_a_state_file()
    {
        var output = Script("""
            umount /run; mount -t tmpfs -o nr_inodes=1 none /run
            $B attach disk.qcow2 --socket "$D/s" --foreground; echo "attach $?"
            mount -o remount,nr_inodes=2 /run
            $B attach disk.qcow2 --socket "$D/s" --foreground; echo "attach $?"
            """);
        var lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal([lines[0], "attach 1", lines[2], "attach 1"], lines);
        Assert.StartsWith("qcow2blk: cannot create /run/qcow2blk: no space left on device", lines[0], StringComparison.Ordinal);
        Assert.StartsWith("qcow2blk: cannot write /run/qcow2blk/disk.json: no space left on device", lines[2], StringComparison.Ordinal);
    }

    [Fact]
    public void Private_socket_is_made_where_there_is_a_place()
    {
        var output = Script("""
            mount -o remount,ro /tmp
            $B attach disk.qcow2 --run 'nbdinfo --size "$uri"'; echo "run $?"
            TMPDIR=/proc $B attach disk.qcow2 --run 'nbdinfo --size "$uri"'; echo "run $?"
            ls /dev/shm | grep ^qcow2blk-
            mount -o remount,rw /tmp; cp disk.qcow2 $B /tmp; mount -o remount,ro /tmp; mount -t tmpfs -o ro none /dev/shm
            /tmp/qcow2blk attach /tmp/disk.qcow2 --read-only --run true; echo "run $?"
            """);
        var lines = output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["3145728", "run 0", "3145728", "run 0", lines[^2], "run 1"], lines);
        Assert.StartsWith("qcow2blk: cannot make a private socket: /tmp/: read-only file system, /dev/shm: read-only file system",
            lines[^2], StringComparison.Ordinal);
    }
}
