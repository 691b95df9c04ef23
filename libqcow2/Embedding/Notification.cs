namespace Qcow2Blk.Embedding;

/// <summary>A function of the program that we live in, told of the end of a request.</summary>
/// <param name="Function">void (*)(void *user_data, int64_t result), in C's calling convention</param>
internal readonly unsafe record struct Notification(CompletionQueue? Queue, nint Function, nint UserData)
{
    /// <summary>Tells it.</summary>
    public void Deliver(long result)
    {
        if (Queue is not null)
        {
            Queue.Add(UserData, result);
            return;
        }

        HostCallback.Enter();
        try
        {
            ((delegate* unmanaged[Cdecl]<nint, long, void>)Function)(UserData, result);
        }
        finally
        {
            HostCallback.Leave();
        }
    }
}
