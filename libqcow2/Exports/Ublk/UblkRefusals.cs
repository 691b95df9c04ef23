using Qcow2Blk.Interop;

namespace Qcow2Blk.Exports.Ublk;

/// <summary>Says what an errno of the driver means, and what can be done about it.</summary>
internal static class UblkRefusals
{
    private const string UseNbd = "or use --transport nbd";
    private const string NeedsRights =
        "run as root, or install the udev rule for unprivileged ublk devices and join its group";

    /// <summary>Of <see cref="UblkStep.OpenControl"/>, <see cref="UblkStep.MakeRing"/> and <see cref="UblkStep.GetFeatures"/>.</summary>
    public static ExportRefusedException OfOpen(UblkStep step, int error, in UblkHost host) => step switch
    {
        UblkStep.OpenControl => OfControlNode(error, host),
        UblkStep.MakeRing => OfRing(error, host),
        _ => OfFeatures(error, host),
    };

    /// <summary>Of a step that is about a device.</summary>
    /// <param name="step">which</param>
    /// <param name="error">negative errno</param>
    /// <param name="device">number of the device; -1 if the kernel was to choose</param>
    /// <param name="host">where</param>
    public static ExportRefusedException Of(UblkStep step, int error, int device, in UblkHost host) => (step, error) switch
    {
        (UblkStep.OpenControl or UblkStep.MakeRing or UblkStep.GetFeatures, _) => OfOpen(step, error, host),
        (_, -Errno.ETIMEDOUT) when step is not (UblkStep.OpenCharacter or UblkStep.FindBlock) => new(ExportRefusal.Failed,
            $"the kernel (Linux {host.Release}) did not answer {Name(step)} in time", UblkKernelWarnings.Hint(host.Release)),
        (UblkStep.AddDevice, -Errno.EPERM) => OfMissingRights(host),
        (UblkStep.AddDevice, -Errno.EACCES) =>
            new(ExportRefusal.Failed, "the kernel cannot make another ublk device: the limit of ublk_drv is reached",
            "delete orphans, or raise /sys/module/ublk_drv/parameters/ublks_max"),
        (UblkStep.AddDevice, -Errno.EEXIST) =>
            new(ExportRefusal.Busy, $"ublk device number {device} is taken", "leave --device out to get a free one"),
        (UblkStep.OpenCharacter, -Errno.EBUSY) => new(ExportRefusal.Busy, $"{UblkNodes.CharacterPath(device)} is open in another process"),
        (UblkStep.OpenCharacter, -Errno.ENOENT) => MissingNode(UblkNodes.CharacterPath(device)),
        (UblkStep.FindBlock, -Errno.ENOENT) => MissingNode(UblkNodes.BlockPath(device)),
        (UblkStep.OpenCharacter or UblkStep.FindBlock, -Errno.EPERM or -Errno.EACCES) =>
            OfNodeRights(step is UblkStep.OpenCharacter ? UblkNodes.CharacterPath(device) : UblkNodes.BlockPath(device), error, host),
        (UblkStep.StartDevice or UblkStep.EndRecovery, -Errno.EINVAL) => new(ExportRefusal.Failed,
            $"the kernel does not accept this process as the server of ublk device {device}",
            "before Linux 7.2 the server must run in the first pid namespace, not in a container"),
        (UblkStep.StartRecovery, -Errno.EBUSY) => new(ExportRefusal.Busy,
            $"ublk device {device} still has a server, or what is left of one", "wait until it has ended"),
        (UblkStep.StartRecovery, -Errno.EINVAL) =>
            new(ExportRefusal.Failed, $"ublk device {device} cannot be recovered: it was made without recovery, or never started"),
        (not UblkStep.AddDevice, -Errno.ENODEV) => new(ExportRefusal.Failed, $"there is not a ublk device {device}, or it has no disk"),
        (_, -Errno.EPERM) =>
            new(ExportRefusal.Denied, $"ublk device {device} belongs to another user: {Name(step)} needs CAP_SYS_ADMIN", "run as root"),
        (UblkStep.UpdateSize, -Errno.EOPNOTSUPP) => new(ExportRefusal.Unavailable,
            $"the ublk of this kernel (Linux {host.Release}) cannot change the size of a device",
            "detach and attach again to see the new size"),
        _ => new(ExportRefusal.Failed, $"{Name(step)} of ublk device {(device < 0 ? "(any)" : device)}: {Errno.Text(error)}"),
    };

    private static ExportRefusedException OfControlNode(int error, in UblkHost host) => (error, host.Module) switch
    {
        (-Errno.ENOENT, UblkModule.Loaded) => MissingNode(UblkControl.Path),
        (-Errno.ENOENT or -Errno.ENXIO or -Errno.ENODEV, UblkModule.Absent) => new(ExportRefusal.Unavailable,
            $"this kernel (Linux {host.Release}) has no ublk driver", $"boot a kernel with ublk_drv, Linux 6.8 or newer, {UseNbd}"),
        (-Errno.ENOENT or -Errno.ENXIO or -Errno.ENODEV, UblkModule.Unknown) => new(ExportRefusal.Unavailable,
            $"there is no {UblkControl.Path}", "run \"modprobe ublk_drv\" on the host; a container must be given the node"),
        (-Errno.ENOENT or -Errno.ENXIO or -Errno.ENODEV, _) => new(ExportRefusal.Unavailable,
            "the kernel module ublk_drv is not loaded", "run \"modprobe ublk_drv\" as root"),
        (-Errno.EPERM or -Errno.EACCES, _) => OfNodeRights(UblkControl.Path, error, host),
        _ => new(ExportRefusal.Failed, $"cannot open {UblkControl.Path}: {Errno.Text(error)}"),
    };

    private static ExportRefusedException OfRing(int error, in UblkHost host) => error switch
    {
        -Errno.EPERM when host.IoUringDisabled != 0 => new(ExportRefusal.Denied,
            $"ublk needs io_uring, and the sysctl kernel.io_uring_disabled is {host.IoUringDisabled}", $"set it to 0, {UseNbd}"),
        -Errno.EPERM or -Errno.EACCES => new(ExportRefusal.Denied,
            "ublk needs io_uring, and a seccomp filter or a security module forbids it", $"allow it in the container's profile, {UseNbd}"),
        -Errno.ENOSYS => new(ExportRefusal.Unavailable, "ublk needs io_uring, and there is none here", "use --transport nbd"),
        -Errno.EINVAL =>
            new(ExportRefusal.Unavailable,
                $"the io_uring of this kernel (Linux {host.Release}) has no driver commands: Linux 5.19 or newer is needed"),
        _ => new(ExportRefusal.Failed, $"cannot set up an io_uring for ublk: {Errno.Text(error)}"),
    };

    private static ExportRefusedException OfFeatures(int error, in UblkHost host) => error switch
    {
        -Errno.EPERM or -Errno.EACCES => new(ExportRefusal.Denied, "a security module forbids io_uring commands to ublk", UseNbd[3..]),
        -Errno.ETIMEDOUT =>
            new(ExportRefusal.Failed, $"the ublk driver (Linux {host.Release}) does not answer: an earlier command hangs in it",
            "see the kernel log; a reboot may be needed"),
        _ => new(ExportRefusal.Unavailable,
            $"the ublk of this kernel (Linux {host.Release}) is older than that of Linux 6.5: {Errno.Text(error)}",
            $"boot a newer kernel, {UseNbd}"),
    };

    private static ExportRefusedException OfMissingRights(in UblkHost host) => host.IsRoot
        ? new(ExportRefusal.Denied, "this process is root without CAP_SYS_ADMIN in the first user namespace, which a ublk device needs",
            "run it outside the container, or with that capability")
        : new(ExportRefusal.Denied, "a ublk device needs CAP_SYS_ADMIN", NeedsRights);

    private static ExportRefusedException OfNodeRights(string node, int error, in UblkHost host) =>
        error == -Errno.EPERM && host.IsRoot
            ? new(ExportRefusal.Denied, $"the device cgroup forbids opening {node}",
                "let the container use the devices ublk-control, ublkc* and ublkb*")
            : new(ExportRefusal.Denied, $"no permission to open {node}: {Errno.Text(error)}", NeedsRights);

    private static ExportRefusedException MissingNode(string node) => new(ExportRefusal.Failed,
        $"the kernel made a device, but {node} does not exist", "devtmpfs or udev must create it; qcow2blk does not create device nodes");

    private static string Name(UblkStep step) => step switch
    {
        UblkStep.GetFeatures => "GET_FEATURES",
        UblkStep.AddDevice => "ADD_DEV",
        UblkStep.SetParameters => "SET_PARAMS",
        UblkStep.StartDevice => "START_DEV",
        UblkStep.GetDeviceInfo => "GET_DEV_INFO",
        UblkStep.StartRecovery => "START_USER_RECOVERY",
        UblkStep.EndRecovery => "END_USER_RECOVERY",
        UblkStep.StopDevice => "STOP_DEV",
        UblkStep.DeleteDevice => "DEL_DEV",
        UblkStep.UpdateSize => "UPDATE_SIZE",
        UblkStep.OpenCharacter => "opening the character device",
        UblkStep.FindBlock => "finding the block device",
        _ => "opening " + UblkControl.Path,
    };
}
