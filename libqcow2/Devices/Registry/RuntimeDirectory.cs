using System;
using System.IO;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Interop;
using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Registry;

/// <summary>
/// The directory where servers are found: a state file <c>NAME.json</c> and a control socket <c>NAME.sock</c> for
/// each. Only its owner may look into it: the sockets in it command devices.
/// </summary>
/// <remarks>
/// What is in it is used by name, checked before or not: it was looked at through a descriptor, and is ours alone, so
/// nobody else can put anything there. That it stays the directory of its name is for its parent to hold: /run and
/// $XDG_RUNTIME_DIR are root's and ours, /tmp is sticky (<see cref="IsShared"/>), any other was chosen by its user.
/// </remarks>
internal sealed class RuntimeDirectory
{
    /// <summary>Names the directory outright.</summary>
    public const string Variable = "QCOW2BLK_RUNTIME_DIR";

    private const string SessionVariable = "XDG_RUNTIME_DIR";
    private const uint OwnerOnly = 0x1C0; // 0700
    private const ushort OthersMayWrite = 0x12; // 0022
    private const ushort OthersMayAnything = 0x3F; // 0077
    private const ushort Sticky = 0x200; // 01000

    // Once: a relative path, or a session that begins or ends, must not mean another directory later.
    private static readonly Lazy<RuntimeDirectory> s_located = new(() =>
        Choose(Unistd.EffectiveUser(), Environment.GetEnvironmentVariable, IsOursAlone));

    private RuntimeDirectory(string path, bool isShared)
    {
        Path = path;
        IsShared = isShared;
    }

    public string Path { get; }

    /// <summary>Whether it lies in a directory where others can make files: they may have been there first.</summary>
    internal bool IsShared { get; }

    /// <summary>What a block device's image has not committed yet (RecoveryLog).</summary>
    public string LogOf(string name) => System.IO.Path.Combine(Path, name + ".log");

    public string SocketOf(string name) => System.IO.Path.Combine(Path, name + ".sock");

    public string StateFileOf(string name) => System.IO.Path.Combine(Path, name + ".json");

    /// <summary>
    /// <c>$QCOW2BLK_RUNTIME_DIR</c>, else <c>/run/qcow2blk</c> for root, and for others the first of <c>$XDG_RUNTIME_DIR/qcow2blk</c>,
    /// <c>/run/user/UID/qcow2blk</c> and <c>/tmp/qcow2blk-UID</c> whose parent can be used: cron and containers have no session.
    /// The same for the whole life of the process.
    /// </summary>
    public static RuntimeDirectory Locate() => s_located.Value;

    /// <param name="user">who asks</param>
    /// <param name="variable">the environment</param>
    /// <param name="isOursAlone">whether a directory is this user's and nobody else's</param>
    internal static RuntimeDirectory Choose(uint user, Func<string, string?> variable, Predicate<string> isOursAlone)
    {
        var fallback = $"/tmp/qcow2blk-{user}";
        var chosen = variable(Variable);
        if (!string.IsNullOrEmpty(chosen))
        {
            var path = System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(chosen));
            return new RuntimeDirectory(path, isShared: path == fallback);
        }

        if (user == 0)
            return At("/run/qcow2blk");
        // Not another user's: su and sudo may leave the variable as it was.
        foreach (var session in (ReadOnlySpan<string?>)[variable(SessionVariable), $"/run/user/{user}"])
        {
            if (session is ['/', ..] && isOursAlone(session))
                return At(System.IO.Path.Combine(session, "qcow2blk"));
        }

        return InShared(fallback);
    }

    /// <summary>Another place, for tests.</summary>
    public static RuntimeDirectory At(string path) => new(path, isShared: false);

    /// <summary>Another place in a directory where others can make files, for tests.</summary>
    internal static RuntimeDirectory InShared(string path) => new(path, isShared: true);

    /// <summary>Makes the directory if it is missing, and refuses one that others could write to.</summary>
    /// <exception cref="OutcomeException">it cannot be made or is not ours alone</exception>
    public void Ensure() => _ = Unistd.Close(Open(make: true));

    /// <summary>Whether there is a directory to look into.</summary>
    /// <exception cref="OutcomeException">there is one that is not ours alone: what is in it may be a trap</exception>
    public bool Exists()
    {
        var directory = Open(make: false);
        if (directory < 0)
            return false;
        _ = Unistd.Close(directory);
        return true;
    }

    /// <summary>
    /// Keeps what is in the directory from those who clean /tmp of old files: systemd-tmpfiles passes over a directory that
    /// somebody has locked (tmpfiles.d(5), "Age"). Elsewhere nobody cleans.
    /// </summary>
    /// <returns>a descriptor that holds the lock, or a negative number</returns>
    internal int KeepFromAging()
    {
        var directory = IsShared ? Open(make: false) : -1;
        if (directory < 0)
            return -1;
        var held = Fcntl.OpenAt(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        // Waits for those who clean only: nobody else can open it.
        if (held >= 0)
            _ = BsdLock.Share(held);
        _ = Unistd.Close(directory);
        return held;
    }

    /// <returns>the directory, to look at; -ENOENT where it is missing and shall not be made</returns>
    private int Open(bool make)
    {
        if (!IsShared)
            return Open(AT_FDCWD, Path, make);
        var folder = System.IO.Path.GetDirectoryName(Path)!;
        var parent = Fcntl.OpenAt(AT_FDCWD, folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (parent < 0)
            return make || parent != -Errno.ENOENT ? throw Unusable($"cannot use {folder}", parent) : parent;
        try
        {
            CheckShared(parent, folder);
            return Open(parent, System.IO.Path.GetFileName(Path), make);
        }
        finally
        {
            _ = Unistd.Close(parent);
        }
    }

    private int Open(int parent, string name, bool make)
    {
        var flags = O_PATH | O_DIRECTORY | O_CLOEXEC | (IsShared ? O_NOFOLLOW : 0);
        var directory = Fcntl.OpenAt(parent, name, flags);
        if (directory == -Errno.ENOENT && make)
        {
            var made = Stat.MakeDirectoryAt(parent, name, OwnerOnly);
            if (made < 0 && made != -Errno.EEXIST)
                throw Unusable($"cannot create {Path}", made);
            directory = Fcntl.OpenAt(parent, name, flags);
        }

        if (directory == -Errno.ENOENT && !make)
            return directory;
        if (directory is -Errno.ENOTDIR or -Errno.ELOOP)
            throw Unusable($"cannot use {Path}", IsShared ? "it is a symbolic link or not a directory" : "it is not a directory");
        if (directory < 0)
            throw Unusable($"cannot use {Path}", directory);
        try
        {
            CheckOwn(directory);
            return directory;
        }
        catch
        {
            _ = Unistd.Close(directory);
            throw;
        }
    }

    private void CheckOwn(int directory)
    {
        var result = Stat.OfFile(directory, out var stat);
        if (result < 0)
            throw Unusable($"cannot use {Path}", result);
        var user = Unistd.EffectiveUser();
        var what = $"cannot use {Path} for control sockets";
        if (stat.stx_uid != user)
            throw Unusable(what, $"it belongs to user {stat.stx_uid}, and this is user {user}: others could take over devices");
        if ((stat.stx_mode & (IsShared ? OthersMayAnything : OthersMayWrite)) != 0)
        {
            throw Unusable(what, $"it has mode {ModeOf(stat)}, others could take over devices",
                $"chmod 700 it, or set {Variable} to a directory of your own");
        }
    }

    /// <summary>Where others can make files they must not be able to remove or rename ours.</summary>
    private void CheckShared(int parent, string folder)
    {
        var result = Stat.OfFile(parent, out var stat);
        if (result < 0)
            throw Unusable($"cannot use {folder}", result);
        var isTrusted = stat.stx_uid == 0 || stat.stx_uid == Unistd.EffectiveUser();
        if (!isTrusted || ((stat.stx_mode & OthersMayWrite) != 0 && (stat.stx_mode & Sticky) == 0))
        {
            throw Unusable($"cannot use {Path} for control sockets",
                $"{folder} belongs to user {stat.stx_uid} with mode {ModeOf(stat)}, others could replace it");
        }
    }

    /// <summary>Whether a directory belongs to this user and nobody else can write to it.</summary>
    private static bool IsOursAlone(string path)
    {
        var directory = Fcntl.OpenAt(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (directory < 0)
            return false;
        var ours = Stat.OfFile(directory, out var stat) == 0
            && stat.stx_uid == Unistd.EffectiveUser() && (stat.stx_mode & OthersMayWrite) == 0;
        _ = Unistd.Close(directory);
        return ours;
    }

    private static string ModeOf(in statx stat) => Convert.ToString(stat.stx_mode & 0xFFF, 8);

    /// <summary>Whether an error says that there is no such place for this process, and not that the machine lacks something now.</summary>
    /// <param name="error">a negative errno</param>
    internal static bool IsLasting(int error) =>
        error is -Errno.ENOENT or -Errno.EACCES or -Errno.EPERM or -Errno.EROFS or -Errno.ENOTDIR or -Errno.ELOOP;

    private static OutcomeException Unusable(string what, int error) =>
        new(OutcomeKind.Failed, what, Errno.Text(error),
            $"set {Variable} to a directory of your own")
        { IsRuntimeDirectory = IsLasting(error) };

    private static OutcomeException Unusable(string what, string why, string? hint = null) =>
        new(OutcomeKind.Failed, what, why, hint ?? $"set {Variable} to a directory of your own") { IsRuntimeDirectory = true };
}
