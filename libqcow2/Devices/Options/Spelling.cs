using System;
using System.Collections.Generic;
using Qcow2Blk.Exports.Ublk;

namespace Qcow2Blk.Devices.Options;

/// <summary>How option values and states are spelled on the command line and in JSON.</summary>
/// <remarks>Each table is in the order of its enum.</remarks>
public static class Spelling
{
    public static IReadOnlyList<string> Formats { get; } = ["qcow2", "raw"];

    public static IReadOnlyList<string> CacheModes { get; } = ["none", "writeback"];

    public static IReadOnlyList<string> DiscardModes { get; } = ["unmap", "ignore"];

    public static IReadOnlyList<string> DetectZeroesModes { get; } = ["off", "on", "unmap"];

    public static IReadOnlyList<string> EnospcPolicies { get; } = ["report", "stop"];

    public static IReadOnlyList<string> Transports { get; } = ["auto", "ublk", "nbd"];

    public static IReadOnlyList<string> UblkModes { get; } = ["auto", "zero-copy", "user-copy", "map"];

    public static string Of(AttachFormat value) => Formats[(int)value];

    public static string Of(CacheMode value) => CacheModes[(int)value];

    public static string Of(DiscardMode value) => DiscardModes[(int)value];

    public static string Of(DetectZeroesMode value) => DetectZeroesModes[(int)value];

    public static string Of(EnospcPolicy value) => EnospcPolicies[(int)value];

    public static string Of(DeviceTransport value) => Transports[(int)value];

    public static string Of(UblkMode value) => UblkModes[(int)value];

    public static AttachFormat Format(string word) => (AttachFormat)Index(Formats, word);

    public static CacheMode Cache(string word) => (CacheMode)Index(CacheModes, word);

    public static DiscardMode Discard(string word) => (DiscardMode)Index(DiscardModes, word);

    public static DetectZeroesMode DetectZeroes(string word) => (DetectZeroesMode)Index(DetectZeroesModes, word);

    public static EnospcPolicy Enospc(string word) => (EnospcPolicy)Index(EnospcPolicies, word);

    public static DeviceTransport Transport(string word) => (DeviceTransport)Index(Transports, word);

    public static UblkMode Ublk(string word) => (UblkMode)Index(UblkModes, word);

    private static int Index(IReadOnlyList<string> words, string word)
    {
        for (int i = 0; i < words.Count; i++)
        {
            if (words[i] == word)
                return i;
        }
        throw new FormatException($"\"{word}\" is none of {string.Join(", ", words)}");
    }
}
