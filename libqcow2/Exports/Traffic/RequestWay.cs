using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Format;

namespace Qcow2Blk.Exports.Traffic;

/// <summary>What a request asks for, whatever the protocol calls it.</summary>
internal enum RequestOperation : byte
{
    Read,
    Write,
    WriteZeroes,
    Discard,
    Flush,
    Prefetch,
    BlockStatus,
    Unknown,
}

internal static class RequestOperations
{
    public static EnumWords<RequestOperation> Words { get; } = new(
        (RequestOperation.Read, "read"), (RequestOperation.Write, "write"), (RequestOperation.WriteZeroes, "write-zeroes"),
        (RequestOperation.Discard, "discard"), (RequestOperation.Flush, "flush"), (RequestOperation.Prefetch, "prefetch"),
        (RequestOperation.BlockStatus, "block-status"), (RequestOperation.Unknown, "unknown"));
}

/// <summary>How a request was served.</summary>
internal enum RequestWay : byte
{
    /// <summary>Handed whole to the home loop, which may change metadata.</summary>
    Home,

    /// <summary>One submission on the loop that it came to, through a buffer.</summary>
    Direct,

    /// <summary>One submission with the pages of the request itself.</summary>
    ZeroCopy,

    /// <summary>Known to read as zeroes: nothing was read.</summary>
    Zeroes,
}

internal static class RequestWays
{
    public static EnumWords<RequestWay> Words { get; } = new(
        (RequestWay.Home, "home"), (RequestWay.Direct, "direct"), (RequestWay.ZeroCopy, "zero-copy"), (RequestWay.Zeroes, "zeroes"));
}

/// <summary>What a request had to wait for before it began.</summary>
[Flags]
internal enum RequestWaits : byte
{
    None = 0,

    /// <summary>For its turn, as a limit holds it back.</summary>
    Limit = 1,

    /// <summary>For a resume.</summary>
    Suspend = 2,

    /// <summary>For space in the file system.</summary>
    Space = 4,
}

internal static class RequestWaitWords
{
    private static readonly EnumWords<RequestWaits> s_words = new(
        (RequestWaits.Limit, "limit"), (RequestWaits.Suspend, "suspend"), (RequestWaits.Space, "space"));

    /// <returns>nothing for a word of a later version</returns>
    public static RequestWaits TryParse(string? word) => s_words.TryParse(word) ?? RequestWaits.None;

    public static IEnumerable<string> Of(RequestWaits waits) =>
        s_words.All.Where(word => (waits & s_words.Parse(word)) != 0);
}
