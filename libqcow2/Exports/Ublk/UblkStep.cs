namespace Qcow2Blk.Exports.Ublk;

/// <summary>What was being done when the kernel said no: its errno alone does not tell the user much.</summary>
internal enum UblkStep
{
    /// <summary>Opening /dev/ublk-control.</summary>
    OpenControl,

    /// <summary>Setting up the io_uring for control commands.</summary>
    MakeRing,
    GetFeatures,
    AddDevice,
    SetParameters,

    /// <summary>Opening /dev/ublkcN.</summary>
    OpenCharacter,
    StartDevice,

    /// <summary>Waiting for /dev/ublkbN.</summary>
    FindBlock,
    GetDeviceInfo,
    StartRecovery,
    EndRecovery,
    StopDevice,
    DeleteDevice,
    UpdateSize,
}
