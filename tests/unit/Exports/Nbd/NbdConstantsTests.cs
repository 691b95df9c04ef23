using System;
using System.Diagnostics;
using System.IO;
using System.Linq;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Protocol;
using Xunit;

namespace Qcow2Blk.Tests.Exports.Nbd;

/// <summary>Our numbers against other people's headers, by letting a C compiler compare them.</summary>
public sealed class NbdConstantsTests
{
    [Fact]
    public void Numbers_equal_those_of_the_kernel_header() => AssertInC("linux/nbd.h",
        ("NBD_REQUEST_MAGIC", NbdProtocol.RequestMagic),
        ("NBD_REPLY_MAGIC", NbdProtocol.SimpleReplyMagic),
        ("NBD_CMD_READ", (uint)NbdCommand.Read),
        ("NBD_CMD_WRITE", (uint)NbdCommand.Write),
        ("NBD_CMD_DISC", (uint)NbdCommand.Disconnect),
        ("NBD_CMD_FLUSH", (uint)NbdCommand.Flush),
        ("NBD_CMD_TRIM", (uint)NbdCommand.Trim),
        ("NBD_FLAG_HAS_FLAGS", (uint)TransmissionFlags.HasFlags),
        ("NBD_FLAG_READ_ONLY", (uint)TransmissionFlags.ReadOnly),
        ("NBD_FLAG_SEND_FLUSH", (uint)TransmissionFlags.SendFlush),
        ("NBD_FLAG_SEND_FUA", (uint)TransmissionFlags.SendFua),
        ("NBD_FLAG_SEND_TRIM", (uint)TransmissionFlags.SendTrim),
        ("NBD_FLAG_CAN_MULTI_CONN", (uint)TransmissionFlags.CanMultiConnection),
        ("NBD_CMD_FLAG_FUA", (uint)CommandFlags.Fua << 16), // the kernel's type field holds flags and type
        ("sizeof(struct nbd_request)", RequestHeader.CompactSize),
        ("sizeof(struct nbd_reply)", ReplyEncoder.SimpleReplySize),
        ("offsetof(struct nbd_request, handle)", 8),
        ("offsetof(struct nbd_request, from)", 16),
        ("offsetof(struct nbd_request, len)", 24),
        ("offsetof(struct nbd_reply, handle)", 8));

    [Fact]
    public void Numbers_equal_those_of_libnbd() => AssertInC("libnbd.h",
        ("LIBNBD_CMD_FLAG_FUA", (uint)CommandFlags.Fua),
        ("LIBNBD_CMD_FLAG_NO_HOLE", (uint)CommandFlags.NoHole),
        ("LIBNBD_CMD_FLAG_DF", (uint)CommandFlags.Df),
        ("LIBNBD_CMD_FLAG_REQ_ONE", (uint)CommandFlags.RequestOne),
        ("LIBNBD_CMD_FLAG_FAST_ZERO", (uint)CommandFlags.FastZero),
        ("LIBNBD_HANDSHAKE_FLAG_FIXED_NEWSTYLE", (uint)HandshakeFlags.FixedNewstyle),
        ("LIBNBD_HANDSHAKE_FLAG_NO_ZEROES", (uint)HandshakeFlags.NoZeroes),
        ("LIBNBD_STATE_HOLE", (uint)AllocationState.Hole),
        ("LIBNBD_STATE_ZERO", (uint)AllocationState.Zero),
        ("__builtin_strcmp(LIBNBD_CONTEXT_BASE_ALLOCATION, \"base:allocation\")", 0));

    [Fact]
    public void Errors_are_the_kernels_numbers() => AssertInC("errno.h",
        ("EPERM", NbdErrors.PermissionDenied),
        ("EIO", NbdErrors.InputOutput),
        ("ENOMEM", NbdErrors.NoMemory),
        ("EINVAL", NbdErrors.Invalid),
        ("ENOSPC", NbdErrors.NoSpace),
        ("EOVERFLOW", NbdErrors.Overflow),
        ("ENOTSUP", NbdErrors.NotSupported),
        ("EOPNOTSUPP", NbdErrors.NotSupported),
        ("ESHUTDOWN", NbdErrors.Shutdown),
        // The literals in the mapping and in the tests below.
        ("EROFS", 30),
        ("EDQUOT", 122),
        ("EFBIG", 27));

    [Theory]
    [InlineData(0, 0u)]
    [InlineData(1, 1u)]
    [InlineData(30, 1u)]
    [InlineData(12, 12u)]
    [InlineData(22, 22u)]
    [InlineData(28, 28u)]
    [InlineData(122, 28u)]
    [InlineData(27, 28u)]
    [InlineData(75, 75u)]
    [InlineData(95, 95u)]
    [InlineData(108, 108u)]
    [InlineData(5, 5u)]
    [InlineData(13, 5u)] // EACCES
    [InlineData(125, 5u)] // ECANCELED
    [InlineData(int.MaxValue, 5u)]
    public void Errno_of_either_sign_maps_to_an_error_of_the_protocol(int errno, uint expected)
    {
        Assert.Equal(expected, NbdErrors.FromErrno(errno));
        Assert.Equal(expected, NbdErrors.FromErrno(-errno));
    }

    private static void AssertInC(string header, params (string C, uint Ours)[] pairs)
    {
        Assert.SkipUnless(File.Exists("/usr/bin/gcc"), "no C compiler");
        Assert.SkipUnless(File.Exists($"/usr/include/{header}"), $"no {header} (Debian: libnbd-dev, linux-libc-dev)");

        var errors =
            Compile(header,
                pairs.Select(
                    pair => $"_Static_assert((unsigned long)({pair.C}) == {pair.Ours}UL,"
                        + $" \"{pair.C.Replace("\"", "'", StringComparison.Ordinal)}\");"));

        Assert.Equal("", errors);
        Assert.NotEqual("", Compile(header, ["_Static_assert(1 == 2, \"the compiler compares\");"]));
    }

    private static string Compile(string header, System.Collections.Generic.IEnumerable<string> lines)
    {
        using var compiler = Process.Start(new ProcessStartInfo("gcc", ["-x", "c", "-std=gnu11", "-fsyntax-only", "-"])
        {
            RedirectStandardInput = true,
            RedirectStandardError = true,
        })!;
        compiler.StandardInput.Write($"#include <stddef.h>\n#include <linux/types.h>\n#include <{header}>\n{string.Join('\n', lines)}\n");
        compiler.StandardInput.Close();
        var errors = compiler.StandardError.ReadToEnd();
        compiler.WaitForExit();
        return errors;
    }
}
