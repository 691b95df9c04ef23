namespace Qcow2Blk.Protocol;

/// <summary>
/// Magic numbers, sizes and limits of the NBD protocol (doc/proto.md of the NBD project). All numbers on the wire
/// are big endian.
/// </summary>
internal static class NbdProtocol
{
    /// <summary>The port that IANA reserved for NBD.</summary>
    public const int DefaultPort = 10809;

    /// <summary>"NBDMAGIC", the first eight bytes that a server sends (INIT_PASSWD).</summary>
    public const ulong ServerMagic = 0x4e42444d41474943;

    /// <summary>"IHAVEOPT": second in the greeting, and before every option of the client.</summary>
    public const ulong OptionMagic = 0x49484156454F5054;

    /// <summary>Before every reply to an option.</summary>
    public const ulong OptionReplyMagic = 0x0003e889045565a9;

    /// <summary>NBD_REQUEST_MAGIC, compact request header.</summary>
    public const uint RequestMagic = 0x25609513;

    /// <summary>NBD_EXTENDED_REQUEST_MAGIC, once extended headers are negotiated.</summary>
    public const uint ExtendedRequestMagic = 0x21e41c71;

    /// <summary>NBD_SIMPLE_REPLY_MAGIC.</summary>
    public const uint SimpleReplyMagic = 0x67446698;

    /// <summary>NBD_STRUCTURED_REPLY_MAGIC.</summary>
    public const uint StructuredReplyMagic = 0x668e33ef;

    /// <summary>NBD_EXTENDED_REPLY_MAGIC.</summary>
    public const uint ExtendedReplyMagic = 0x6e8a278c;

    /// <summary>Bytes of the server's greeting: two magics and the handshake flags.</summary>
    public const int GreetingSize = 18;

    /// <summary>Bytes of the client's flags, its answer to the greeting.</summary>
    public const int ClientFlagsSize = 4;

    /// <summary>Bytes before the data of an option: magic, option, length.</summary>
    public const int OptionHeaderSize = 16;

    /// <summary>Bytes before the data of a reply to an option: magic, option, reply type, length.</summary>
    public const int OptionReplyHeaderSize = 20;

    /// <summary>Zeroes after the answer to NBD_OPT_EXPORT_NAME, unless the client asked for none.</summary>
    public const int ExportNamePadding = 124;

    /// <summary>
    /// The longest read, and the longest payload of a write. 32 MiB is what the specification asks every server to
    /// accept ("2^25") and what the clients of qemu, libnbd and the kernel keep to.
    /// </summary>
    public const uint MaxRequestPayload = 32 << 20;

    /// <summary>
    /// The longest payload of a compact request that is read and thrown away to answer an error. Twice the limit:
    /// clients used to nbdkit send up to 64 MiB. Beyond it the connection is closed, so that a client cannot keep a
    /// server busy with 4 GiB of nothing per request.
    /// </summary>
    public const uint MaxDrainedPayload = 64 << 20;

    /// <summary>The longest string of the protocol, in bytes of UTF-8 (specification: "String lengths").</summary>
    public const int MaxNameLength = 4096;

    /// <summary>
    /// The most bytes of option data that are looked at, and with the header the most that a connection buffers during
    /// the handshake. Four maximal strings: an export name and several queries, or a name and 6,000 information
    /// requests. Real clients send less than 200 bytes.
    /// </summary>
    public const int MaxOptionLength = 4 * MaxNameLength;

    /// <summary>
    /// Option data longer than <see cref="MaxOptionLength"/> is skipped up to this size and answered with
    /// NBD_REP_ERR_TOO_BIG; beyond it the connection is closed. The same number as for requests.
    /// </summary>
    public const uint MaxSkippedOptionLength = MaxRequestPayload;

    /// <summary>
    /// Options in one handshake. Real clients need six or so, and two for every export they ask about; the limit ends
    /// a client that never stops asking.
    /// </summary>
    public const int MaxOptions = 128;

    /// <summary>Bitmaps of one export: each may need memory for a reply of its own.</summary>
    public const int MaxBitmaps = 16;

    /// <summary>Metadata contexts that one session can have: all there are.</summary>
    public const int MaxContexts = 2 + MaxBitmaps;

    /// <summary>Bytes of input that a handshake of the server may need at once to make progress.</summary>
    public const int HandshakeBufferSize = OptionHeaderSize + MaxOptionLength;

    /// <summary>Default preferred block size where none is advertised.</summary>
    public const uint DefaultPreferredBlockSize = 4096;

    /// <summary>The largest minimum block size the specification allows.</summary>
    public const uint LargestMinimumBlockSize = 65536;
}
