using System;
using System.Threading;

namespace Qcow2Blk.Devices.Server;

/// <summary>
/// The wish to end, which may come before there is anything that could end: a signal while the image is being opened
/// is kept until the device is there.
/// </summary>
internal sealed class EndRequest
{
    private readonly Lock _lock = new();
    private Action? _receiver;
    private bool _raised;

    /// <summary>Safe from any thread, any number of times.</summary>
    public void Raise()
    {
        lock (_lock)
        {
            _raised = true;
            _receiver?.Invoke();
        }
    }

    /// <summary>Sets who is told; at once, if the wish came before. Null: nobody any more.</summary>
    public void PassTo(Action? receiver)
    {
        lock (_lock)
        {
            _receiver = receiver;
            if (_raised)
                receiver?.Invoke();
        }
    }
}
