using System;
using System.IO;
using Qcow2Blk.Buffers;
using Qcow2Blk.Crypto;
using Qcow2Blk.Exports;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Check;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;
using Qcow2Blk.Tests.Storage;
using Qcow2Blk.Tests.Support;
using Xunit;

namespace Qcow2Blk.Tests.Exports;

/// <summary>The fast path with an encrypted image: each loop encrypts and decrypts for itself.</summary>
public sealed class EncryptedTransferTests : IDisposable
{
    private const int Length = 8 << 20;

    private readonly TempDirectory _folder = new();
    private readonly LoopOfThisTest _loop = new();
    private readonly byte[] _content = new byte[Length];
    private readonly string _path;

    public EncryptedTransferTests()
    {
        new Random(3).NextBytes(_content);
        _path = _folder.File("file");
        File.WriteAllBytes(_path, new byte[Length]);
        using var file = Open();
        Assert.Equal(4 << 20, Move(new FakeDisk { MapsTo = file }, isWrite: true, 0, 4 << 20, _content.AsSpan(0, 4 << 20)));
        Assert.Equal(4 << 20, Move(new FakeDisk { MapsTo = file }, isWrite: true, 4 << 20, 4 << 20, _content.AsSpan(4 << 20)));
    }

    public void Dispose()
    {
        _loop.Dispose();
        _folder.Dispose();
    }

    [Theory]
    [InlineData(0, 512)]
    [InlineData(512, 4096)]
    [InlineData(1536, 256 * 1024)]
    [InlineData(4096, (1 << 20) + 512)]
    [InlineData(0, Length)]
    public void What_was_written_is_read_and_is_not_what_the_file_has(int offset, int length)
    {
        using var file = Open();
        var disk = new FakeDisk { MapsTo = file };
        var read = new byte[length];
        Assert.Equal(length, Move(disk, isWrite: false, offset, length, read));
        Assert.True(read.AsSpan().SequenceEqual(_content.AsSpan(offset, length)));
        Assert.Equal(0, disk.Epochs.InProgress);
        Assert.False(File.ReadAllBytes(_path).AsSpan(offset, length).SequenceEqual(read));
        using var cipher = Cipher();
        var bytes = SecretMemory.CopyOf(File.ReadAllBytes(_path).AsSpan(offset, length));
        Assert.Equal(0, cipher.Decrypt(offset / 512, bytes.Buffer, bytes.Buffer));
        Assert.True(bytes.Span.SequenceEqual(read));
    }

    [Fact]
    public void Memory_of_the_client_is_not_changed_by_a_write()
    {
        using var file = Open();
        foreach (var length in (int[])[4096, 1 << 20])
        {
            var bytes = _content.AsSpan(0, length).ToArray();
            Assert.Equal(length, Move(new FakeDisk { MapsTo = file }, isWrite: true, 0, length, bytes));
            Assert.True(bytes.AsSpan().SequenceEqual(_content.AsSpan(0, length)));
        }
    }

    [Theory]
    [InlineData(false, 100, 4096)]
    [InlineData(false, 512, 100)]
    [InlineData(true, 0, (4 << 20) + 512)]
    public void Parts_of_sectors_and_huge_writes_are_left_to_the_home_loop(bool isWrite, int offset, int length)
    {
        using var file = Open();
        var disk = new FakeDisk { MapsTo = file };
        _loop.Run(() =>
        {
            var transfer = new DirectTransfer(_loop.Loop, new Owner());
            Assert.Equal(DirectMapping.None, transfer.Map(disk, isWrite, offset, length, orZeroes: false));
            return new LoopTask<int>(0);
        });
        Assert.Equal(0, disk.Epochs.InProgress);
    }

    [Fact]
    public void Pages_of_a_request_are_never_given_to_the_file()
    {
        using var file = Open();
        _loop.Run(() =>
        {
            var transfer = new DirectTransfer(_loop.Loop, new Owner());
            Assert.Equal(DirectMapping.File, transfer.Map(new FakeDisk { MapsTo = file }, isWrite: false, 0, 4096, orZeroes: false));
            Assert.False(transfer.IsPlain);
            transfer.Leave();
            return new LoopTask<int>(0);
        });
    }

    [Fact]
    public void Write_that_fails_is_told_and_gives_its_memory_back()
    {
        using var file = Open(readOnly: true);
        var disk = new FakeDisk { MapsTo = file };
        Assert.Equal(-Errno.EBADF, Move(disk, isWrite: true, 0, 4096, new byte[4096]));
        Assert.Equal(0, disk.Epochs.InProgress);
        Assert.DoesNotContain("note", disk.Calls);
    }

    private int Move(FakeDisk disk, bool isWrite, int offset, int length, Span<byte> bytes)
    {
        using var memory = new TableBuffer(length);
        bytes.CopyTo(memory.Span);
        var owner = new Owner();
        _loop.Run(() =>
        {
            var transfer = new DirectTransfer(_loop.Loop, owner);
            Assert.Equal(DirectMapping.File, transfer.Map(disk, isWrite, offset, length, orZeroes: false));
            transfer.Start(memory.Take(length).Address);
            return owner.Ended.Task;
        });
        memory.Span[..length].CopyTo(bytes);
        return owner.Result;
    }

    private EncryptedStorage Open(bool readOnly = false)
    {
        Assert.Equal(0, FileStorage.Open(_path, readOnly, direct: false, out var file));
        return new EncryptedStorage(file!, ownsInner: true, Cipher(), isByGuest: false);
    }

    private static SectorCipher Cipher()
    {
        var key = new byte[64];
        new Random(1).NextBytes(key);
        return new SectorCipher(new LuksCipher(64, CipherMode.Xts, IvGenerator.Plain64, null), key);
    }

    private sealed class Owner : IDirectTransferOwner
    {
        public ManualSource<int> Ended { get; } = ManualSource<int>.Rent();

        public int Result { get; private set; }

        public void DirectTransferEnded(int result)
        {
            Result = result;
            Ended.SetResult(0);
        }
    }
}
