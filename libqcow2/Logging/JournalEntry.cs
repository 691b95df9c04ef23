using System;
using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Qcow2Blk.Logging;

/// <summary>One entry in the protocol of journald's socket (systemd.io/JOURNAL_NATIVE_PROTOCOL): fields, one after the other.</summary>
internal sealed class JournalEntry
{
    /// <summary>
    /// A longer value is cut. All fields of an entry together then fit into one datagram, whatever the limits of the socket
    /// (net.core.wmem_default is 208 KiB): the way through a sealed file, for longer ones, is not needed.
    /// </summary>
    public const int MaxValue = 16 << 10;

    private readonly ArrayBufferWriter<byte> _bytes = new();

    public ReadOnlySpan<byte> Bytes => _bytes.WrittenSpan;

    /// <param name="name">of capital letters, digits and underscores</param>
    /// <param name="value">anything; null leaves the field out</param>
    public JournalEntry Add(string name, string? value)
    {
        if (value is null)
            return this;
        var content = Encoding.UTF8.GetBytes(value).AsSpan();
        content = content[..Math.Min(content.Length, MaxValue)];
        _bytes.Write(Encoding.ASCII.GetBytes(name));
        // What a line end would end is given by its length: no value becomes a field.
        if (content.Contains((byte)'\n'))
        {
            _bytes.Write("\n"u8);
            BinaryPrimitives.WriteInt64LittleEndian(_bytes.GetSpan(sizeof(long)), content.Length);
            _bytes.Advance(sizeof(long));
        }
        else
        {
            _bytes.Write("="u8);
        }

        _bytes.Write(content);
        _bytes.Write("\n"u8);
        return this;
    }
}
