using System;

namespace Qcow2Blk.Embedding;

/// <summary>
/// Whether the calling thread is inside a callback of the program that we live in. What has to wait is refused there: it
/// would wait for the very thread that it blocks.
/// </summary>
internal static class HostCallback
{
    [ThreadStatic]
    private static int s_depth;

    public static bool IsRunning => s_depth > 0;

    /// <summary>Before the program is called; <see cref="Leave"/> after it.</summary>
    public static void Enter() => s_depth++;

    public static void Leave() => s_depth--;
}
