namespace Qcow2Blk.Devices.Options;

/// <summary>For how long an option holds: whether a recovery, an upgrade and the state file keep it.</summary>
internal enum OptionLife
{
    /// <summary>As long as the device: the state file keeps it, and every next server has it.</summary>
    Device,

    /// <summary>As long as the server: the state file says it, and the next server does without.</summary>
    Server,

    /// <summary>For one start of a server: it is never in a state file.</summary>
    Start,
}
