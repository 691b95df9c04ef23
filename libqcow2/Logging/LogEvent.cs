using System;

namespace Qcow2Blk.Logging;

/// <summary>What a log line is about, where programs that read the journal may want to know: its MESSAGE_ID.</summary>
internal enum LogEvent
{
    /// <summary>The process that served a device died; another one is started.</summary>
    ServerDied,

    /// <summary>A device was taken over from a server that died.</summary>
    Recovered,

    /// <summary>Nobody serves a device any more, and its requests wait for somebody's help.</summary>
    Abandoned,

    /// <summary>Requests wait because the file system of the image is full.</summary>
    NoSpace,

    /// <summary>Requests wait because the source of a base is away.</summary>
    SourceAway,

    /// <summary>The image takes no more writes: it is damaged, or a flush failed.</summary>
    Corrupt,

    /// <summary>A device in use was taken away from its users, at the end of the machine.</summary>
    TakenAway,
}

internal static class LogEvents
{
    /// <summary>As journalctl takes it; these never change, and docs/systemd.md lists them.</summary>
    public static string IdOf(LogEvent what) => what switch
    {
        LogEvent.ServerDied => "f344d783043045da81ef97c2ccb53e53",
        LogEvent.Recovered => "250b10d12ce4413ca245d29c20d875f5",
        LogEvent.Abandoned => "ac663a9521d14abbb101c53ea9206c28",
        LogEvent.NoSpace => "42d4f013eee04952885bb284ecc8c2a5",
        LogEvent.SourceAway => "4891242fc4c248dc9b33a5b8c372eb28",
        LogEvent.Corrupt => "81ee3e9f7c044f109cfcb0525b417fa5",
        LogEvent.TakenAway => "c4ac7f4a9a3a4ea993f8c352ee78eb65",
        _ => throw new ArgumentOutOfRangeException(nameof(what)),
    };
}
