using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Runtime.InteropServices;
using Qcow2Blk.Interop;
using Tmds.Linux;
using Xunit;
using static Qcow2Blk.Tests.Support.CHeaders;

namespace Qcow2Blk.Tests.Interop;

/// <summary>
/// Whatever the library takes from Tmds.LibC, which was written for the headers of 2020, compared by a C compiler with the
/// system's headers. The list is read from the compiled library, so that nothing that is used can be forgotten.
/// </summary>
public sealed class LibCTests
{
    private static readonly string[] s_headers =
    [
        "fcntl.h", "poll.h", "sched.h", "signal.h", "termios.h", "unistd.h", "sys/epoll.h", "sys/eventfd.h", "sys/ioctl.h", "sys/mman.h",
        "sys/mount.h",
        "sys/socket.h", "sys/stat.h", "sys/types.h", "sys/uio.h", "sys/un.h", "netinet/in.h", "netinet/tcp.h",
    ];

    // Calls that cannot fail, so that there is no error to keep.
    private static readonly string[] s_infallible = ["geteuid", "getegid", "getpid", "getppid"];

    private static readonly Dictionary<string, string> s_otherNames = new()
    {
        ["ulong_t"] = "unsigned long",
        ["long_t"] = "long",
        ["syscall_arg"] = "long",
    };

    private static readonly Type[] s_types = [.. Used(reader => reader.TypeReferences.Select(reader.GetTypeReference)
        .Where(type => reader.GetString(type.Namespace) == "Tmds.Linux").Select(type => reader.GetString(type.Name)))
        .Where(name => name != nameof(LibC)).Select(name => typeof(LibC).Assembly.GetType("Tmds.Linux." + name, throwOnError: true)!)];

    private static readonly string[] s_members = [.. Used(reader => reader.MemberReferences.Select(reader.GetMemberReference)
        .Where(member => IsLibC(reader, member.Parent)).Select(member => reader.GetString(member.Name)))];

    [Fact]
    public void Constants_are_the_systems()
    {
        (string, long)[] facts = [.. s_members.Where(name => name.StartsWith("get_", StringComparison.Ordinal))
            .Select(name => (name[4..], ValueOf(name[4..])))];
        Assert.Contains(("O_NOFOLLOW", LibC.O_NOFOLLOW), facts);
        AssertInC(s_headers, facts);
    }

    [Fact]
    public void Kinds_of_files_are_told_as_the_system_does()
    {
        var questions = s_members.Where(name => name.StartsWith("S_IS", StringComparison.Ordinal)).ToArray();
        Assert.NotEmpty(questions);
        AssertInC(s_headers, [.. from question in questions
                                 from kind in Enumerable.Range(0, 16).Select(kind => (ushort)(kind << 12))
                                 select ($"{question}({kind}) != 0", (bool)Method(question).Invoke(null, [(mode_t)kind])! ? 1L : 0L)]);
    }

    [Fact]
    public void Structures_and_types_are_the_systems()
    {
        Assert.Contains(typeof(msghdr), s_types);
        AssertInC(s_headers, [.. s_types.SelectMany(Layout)]);
    }

    [Fact]
    public void Calls_are_in_libc_and_keep_their_errno()
    {
        var libc = NativeLibrary.Load("libc.so.6");
        var calls = s_members.Where(name => !name.StartsWith("get_", StringComparison.Ordinal))
            .Where(name => !name.StartsWith("S_IS", StringComparison.Ordinal)).ToArray();
        Assert.Contains("pread", calls);
        Assert.All(calls, name =>
        {
            var import = Method(name).GetCustomAttribute<DllImportAttribute>()
                ?? Method("_" + name).GetCustomAttribute<DllImportAttribute>()!;
            Assert.Equal("libc.so.6", import.Value);
            Assert.True(NativeLibrary.TryGetExport(libc, import.EntryPoint!, out _), $"{import.EntryPoint} is not in libc");
            Assert.True(import.SetLastError || s_infallible.Contains(name), $"{name} keeps no errno");
        });
    }

    [Fact]
    public void Error_numbers_are_the_systems()
    {
        (string, long)[] facts = [.. typeof(Errno).GetFields().Where(field => field.IsLiteral)
            .Select(field => (field.Name, (long)(int)field.GetRawConstantValue()!))];
        Assert.Contains(("EINTR", 4), facts);
        AssertInC(["errno.h"], facts);
    }

    private static IEnumerable<(string Expression, long Value)> Layout(Type type)
    {
        var isStructure = !type.Name.EndsWith("_t", StringComparison.Ordinal) && !s_otherNames.ContainsKey(type.Name);
        var name = isStructure ? "struct " + type.Name : s_otherNames.GetValueOrDefault(type.Name, type.Name);
        yield return ($"sizeof({name})", Marshal.SizeOf(type));
        foreach (var field in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic))
        {
            // "<fd>k__BackingField" is fd, "_msg_iovlen" is msg_iovlen; padding and what scalars hold begin with two underscores.
            if (!isStructure || field.Name.StartsWith("__", StringComparison.Ordinal))
                continue;
            var member = field.Name.Split('<', '>') is [_, var inner, _] ? inner : field.Name.TrimStart('_');
            yield return ($"offsetof({name}, {member})", Marshal.OffsetOf(type, field.Name));
        }
    }

    /// <summary>The number in a constant of any of the package's types.</summary>
    private static unsafe long ValueOf(string constant)
    {
        var value = typeof(LibC).GetProperty(constant)!.GetValue(null)!;
        while (value is not (Pointer or IConvertible))
            value = Assert.Single(value.GetType().GetFields(BindingFlags.Instance | BindingFlags.NonPublic)).GetValue(value)!;
        return value switch { Pointer pointer => (long)Pointer.Unbox(pointer), ulong large => (long)large, _ => Convert.ToInt64(value) };
    }

    private static MethodInfo Method(string name) =>
        typeof(LibC).GetMethods(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic).First(method => method.Name == name);

    private static bool IsLibC(MetadataReader reader, EntityHandle parent) => parent.Kind == HandleKind.TypeReference
        && reader.GetTypeReference((TypeReferenceHandle)parent) is var type
        && reader.GetString(type.Namespace) == "Tmds.Linux" && reader.GetString(type.Name) == nameof(LibC);

    private static string[] Used(Func<MetadataReader, IEnumerable<string>> what)
    {
        using var file = new PEReader(File.OpenRead(typeof(Errno).Assembly.Location));
        return [.. what(file.GetMetadataReader()).Distinct().Order(StringComparer.Ordinal)];
    }
}
