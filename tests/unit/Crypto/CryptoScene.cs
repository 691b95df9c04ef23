using Qcow2Blk.Buffers;
using Qcow2Blk.Crypto;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Shared;
using Qcow2Blk.Tests.Shared.Simulation;

namespace Qcow2Blk.Tests.Crypto;

/// <summary>The guest data of encrypted images, on a simulated loop.</summary>
internal static class CryptoScene
{
    public static EncryptedStorage Open(SimulatedLoop loop, MemoryStorage storage, string passphrase = LuksImage.Passphrase) =>
        (EncryptedStorage)loop.RunUntilComplete(LuksImage.OpenAsync(storage, passphrase))!;

    /// <summary>A buffer of the loop, which a test need not return.</summary>
    public static NativeBuffer Filled(byte value, int length)
    {
        var buffer = LoopScheduler.Current.Buffers.Rent(length);
        buffer.Span.Fill(value);
        return buffer;
    }
}
