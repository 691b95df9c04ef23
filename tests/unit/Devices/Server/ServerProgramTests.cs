using System;
using System.IO;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Devices.Server;
using Xunit;

namespace Qcow2Blk.Tests.Devices.Server;

public sealed class ServerProgramTests
{
    [Fact]
    public void Servers_are_told_the_runtime_directory_that_their_command_found()
    {
        // They leave the working directory, and a session that decides it may begin or end before the supervisor starts another.
        var variable =
            Assert.Single(ServerProgram.ServerEnvironment(), line => line.StartsWith("QCOW2BLK_RUNTIME_DIR=", StringComparison.Ordinal));
        var path = variable[(variable.IndexOf('=') + 1)..];
        Assert.Equal(RuntimeDirectory.Locate().Path, path);
        Assert.True(Path.IsPathFullyQualified(path));
    }
}
