using System;
using System.IO;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices;

/// <summary>
/// The directory where servers are found: a state file <c>NAME.json</c> and a control socket <c>NAME.sock</c> for
/// each. Only its owner may look into it: the sockets in it command devices.
/// </summary>
public sealed class RuntimeDirectory
{
    /// <summary>Names the directory outright.</summary>
    public const string Variable = "QCOW2BLK_RUNTIME_DIR";

    private RuntimeDirectory(string path) => Path = path;

    public string Path { get; }

    /// <summary>What a block device's image has not committed yet (RecoveryLog).</summary>
    public string LogOf(string name) => System.IO.Path.Combine(Path, name + ".log");

    public string SocketOf(string name) => System.IO.Path.Combine(Path, name + ".sock");

    public string StateFileOf(string name) => System.IO.Path.Combine(Path, name + ".json");

    /// <summary>
    /// <c>$QCOW2BLK_RUNTIME_DIR</c>, else <c>/run/qcow2blk</c> for root and <c>$XDG_RUNTIME_DIR/qcow2blk</c> for others.
    /// </summary>
    /// <exception cref="DeviceException">none of them is known</exception>
    public static RuntimeDirectory Locate()
    {
        string? chosen = Environment.GetEnvironmentVariable(Variable);
        if (!string.IsNullOrEmpty(chosen))
            return new RuntimeDirectory(System.IO.Path.GetFullPath(chosen));
        if (Unistd.EffectiveUser() == 0)
            return new RuntimeDirectory("/run/qcow2blk");
        string? session = Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR");
        if (!string.IsNullOrEmpty(session))
            return new RuntimeDirectory(System.IO.Path.Combine(session, "qcow2blk"));
        throw new DeviceException(ExitStatus.Failed, "no directory for control sockets",
            "neither XDG_RUNTIME_DIR nor QCOW2BLK_RUNTIME_DIR is set", "set QCOW2BLK_RUNTIME_DIR to a directory of yours");
    }

    /// <summary>Another place, for tests.</summary>
    public static RuntimeDirectory At(string path) => new(path);

    /// <summary>Makes the directory if it is missing, and refuses one that others could write to.</summary>
    /// <exception cref="DeviceException">it cannot be made or is not ours alone</exception>
    public void Ensure()
    {
        const uint OwnerOnly = 0x1C0; // 0700
        if (Unistd.MakeDirectory(Path, OwnerOnly) != 0)
        {
            int errno = System.Runtime.InteropServices.Marshal.GetLastPInvokeError();
            if (errno != Errno.EEXIST)
                throw new DeviceException(ExitStatus.Failed, $"cannot create {Path}", Errno.Text(errno),
                    $"set {Variable} to a directory of yours");
        }
        CheckOwner();
    }

    private void CheckOwner()
    {
        int result = Stat.OfPath(Path, out Stat.Statx stat);
        if (result < 0)
            throw new DeviceException(ExitStatus.Failed, $"cannot use {Path}", Errno.Text(result));
        if (stat.Kind != Stat.S_IFDIR)
            throw new DeviceException(ExitStatus.Failed, $"cannot use {Path}", "it is no directory");
        if (stat.stx_uid != Unistd.EffectiveUser() || (stat.stx_mode & 0x12) != 0)
            throw new DeviceException(ExitStatus.Failed, $"cannot use {Path} for control sockets",
                $"it belongs to user {stat.stx_uid} with mode {Convert.ToString(stat.stx_mode & 0xFFF, 8)}, others could take over devices",
                $"chown and chmod 700 it, or set {Variable}");
    }
}
