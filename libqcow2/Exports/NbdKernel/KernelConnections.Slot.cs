using Qcow2Blk.Exports.Nbd;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>What is known of a connection.</summary>
internal sealed unsafe partial class KernelConnections
{
    /// <summary>One connection of the device, and those that replace it. Changed under the lock.</summary>
    private sealed class Slot
    {
        private volatile SlotState _state;
        private volatile int _watch = -1;
        private volatile bool _isInUse;

        internal SlotState State
        {
            get => _state;
            set => _state = value;
        }

        /// <summary>A duplicate of our end, to poll: its number stays when the connection is replaced.</summary>
        internal int Watch
        {
            get => _watch;
            set => _watch = value;
        }

        /// <summary>Timestamp of the last opening; 0 if there was none.</summary>
        internal long Opened { get; set; }

        /// <summary>Whether it has had a request. Set without the lock.</summary>
        internal bool IsInUse
        {
            get => _isInUse;
            set => _isInUse = value;
        }

        /// <summary>Whether the kernel has received a reply.</summary>
        internal bool Proven { get; set; }

        /// <summary>Replies sent, and bytes of them that the kernel had not received, at the last look.</summary>
        internal (int Answers, int Unreceived) AtLastLook { get; set; }

        /// <summary>Its loop's; looked at by others.</summary>
        internal NbdConnection? Connection { get; set; }
    }
}
