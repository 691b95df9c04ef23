using System;
using System.IO;

namespace Qcow2Blk.Tests.Interop;

/// <summary>Damage to the bytes of an image.</summary>
internal static class Bytes
{
    /// <summary>Overwrites bytes; returns what was there.</summary>
    public static byte[] Overwrite(string path, long offset, byte[] bytes)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        var before = new byte[bytes.Length];
        file.Position = offset;
        file.ReadExactly(before);
        file.Position = offset;
        file.Write(bytes);
        return before;
    }

    public static byte[] BigEndian(ulong value, int length)
    {
        var bytes = new byte[length];
        for (var i = 0; i < length; i++)
            bytes[i] = (byte)(value >> (8 * (length - 1 - i)));
        return bytes;
    }
}
