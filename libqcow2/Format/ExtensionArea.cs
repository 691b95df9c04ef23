using System;
using System.Buffers.Binary;
using System.Collections.Generic;

namespace Qcow2Blk.Format;

/// <summary>Header extensions one after the other, each filled up with zeroes to a multiple of 8 bytes.</summary>
internal sealed class ExtensionArea
{
    private readonly List<byte> _bytes = [];

    /// <summary>Bytes so far.</summary>
    public int Length => _bytes.Count;

    public void Add(uint type, ReadOnlySpan<byte> data) => Insert(Length, type, data);

    /// <param name="position">between two extensions</param>
    /// <param name="type">what it is</param>
    /// <param name="data">its data without padding</param>
    public void Insert(int position, uint type, ReadOnlySpan<byte> data)
    {
        var extension = new byte[HeaderExtension.PrefixLength + (int)Rounding.Up(data.Length, 8)];
        BinaryPrimitives.WriteUInt32BigEndian(extension, type);
        BinaryPrimitives.WriteInt32BigEndian(extension.AsSpan(4), data.Length);
        data.CopyTo(extension.AsSpan(HeaderExtension.PrefixLength));
        _bytes.InsertRange(position, extension);
    }

    public byte[] ToArray() => [.. _bytes];
}
