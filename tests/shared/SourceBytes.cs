using System;
using System.Runtime.InteropServices;

namespace Qcow2Blk.Tests.Shared;

/// <summary>What a base holds that was made up: each chunk's bytes are a function of its number.</summary>
internal static class SourceBytes
{
    public static byte[] Of(long chunk, int length)
    {
        var bytes = new byte[length];
        new Random((int)(chunk * 7919) ^ 0x5ca1e).NextBytes(bytes);

        // The number at the start of each block of 4 KiB: a block of another chunk is told from this one.
        for (var offset = 0; offset + sizeof(long) <= length; offset += 4096)
            MemoryMarshal.Write(bytes.AsSpan(offset), (chunk << 16) + (offset / 4096) + 1);
        return bytes;
    }
}
