using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Threading;
using Qcow2Blk.Exports;
using Qcow2Blk.Exports.Nbd;
using Qcow2Blk.Image;
using Qcow2Blk.Interop;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Tests.Exports.Nbd;
using Qcow2Blk.Tests.Support;
using Qcow2Blk.Uring;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Tests.Exports;

/// <summary>A disk served over NBD by loops of this process, on a unix socket.</summary>
internal sealed class ServedScene : IDisposable
{
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    private readonly TempDirectory _directory = new();
    private readonly OffloadPool _pool = new(2);
    private readonly List<NbdClient> _clients = [];
    private readonly int _listener;
    private bool _closed;

    /// <param name="open">makes the disk, on the home loop</param>
    /// <param name="loops">how many loops serve</param>
    /// <param name="limits">of the clients; null: nobody is looked at but when told to</param>
    /// <param name="parkOnNoSpace">whether what finds no space waits</param>
    public ServedScene(Func<LoopTask<IDisk>> open, int loops = 1, ClientLimits? limits = null, bool parkOnNoSpace = false)
    {
        Loops = [.. Enumerable.Range(0, loops).Select(index => new EventLoop(index, _pool))];
        foreach (var loop in Loops)
            loop.Start();
        Disk = OnHome(open);
        Served = new ServedDisk(Loops[0], parkOnNoSpace);
        Served.Set(Disk);
        var catalog = new Catalog(Catalog.Disk with { Size = Disk.Size });
        Server = new NbdServer(Loops, Served, catalog, line => Reports.Enqueue(line), limits ?? new ClientLimits { LookMilliseconds = -1 });
        _listener = UnixSocket.Serve(Socket, 64);
        Server.Listen(_listener);
    }

    public string Socket => Path.Combine(_directory.Path, "s");

    public EventLoop[] Loops { get; }

    public IDisk Disk { get; private set; }

    public ServedDisk Served { get; }

    public NbdServer Server { get; }

    /// <summary>Why clients were sent away.</summary>
    public System.Collections.Concurrent.ConcurrentQueue<string> Reports { get; } = new();

    /// <summary>Memory that the loops have for buffers, in use or not.</summary>
    public long MappedBytes => Loops.Sum(loop => On(loop, () => new LoopTask<long>(loop.Buffers.MappedBytes)));

    /// <summary>A client that has said what it wants.</summary>
    public NbdClient Connect(bool extended = false)
    {
        var client = new NbdClient(Socket, extended);
        _clients.Add(client);
        return client;
    }

    /// <summary>Lets as many seconds pass as clients would notice.</summary>
    public void Look(int times)
    {
        for (var i = 0; i < times; i++)
            Server.LookAtClients();
        Settle();
    }

    /// <summary>The server has all that a client sent, and has looked at it.</summary>
    public void Receive(NbdClient client)
    {
        Until(() => client.IsReceived, "what was sent is received");
        Settle();
    }

    /// <summary>Everything that was posted to the loops until now has run.</summary>
    public void Settle()
    {
        foreach (var loop in Loops)
            On(loop, () => new LoopTask<int>(0));
    }

    /// <summary>As suspend does: held, closed and replaced.</summary>
    public void Replace(Func<LoopTask<IDisk>> open, Action? between = null)
    {
        using var drained = new ManualResetEventSlim();
        Server.Hold(drained.Set);
        Require(drained.Wait(Patience), "requests end");
        OnHome(Disk.CloseAsync);
        between?.Invoke();
        Disk = OnHome(open);
        Served.Set(Disk);
        Server.Release();
    }

    public T OnHome<T>(Func<LoopTask<T>> start) => On(Loops[0], start);

    /// <summary>Waits for what other threads do.</summary>
    public static void Until(Func<bool> condition, string what)
    {
        Require(SpinWait.SpinUntil(() => condition() || Sleep(), Patience), what);

        static bool Sleep()
        {
            Thread.Sleep(1);
            return false;
        }
    }

    /// <summary>Ends the server as detach does.</summary>
    public void Close()
    {
        if (_closed)
            return;
        _closed = true;
        Server.Close();
        Until(() => Server.Connections == 0, "connections end");
    }

    public void Dispose()
    {
        foreach (var client in _clients)
            client.Dispose();
        Close();
        OnHome(Disk.CloseAsync);
        UnixSocket.Shutdown(_listener, SHUT_RDWR);
        _ = Unistd.Close(_listener);
        foreach (var loop in Loops)
            loop.Dispose();
        _pool.Dispose();
        _directory.Dispose();
    }

    public static T On<T>(EventLoop loop, Func<LoopTask<T>> start)
    {
        using var done = new ManualResetEventSlim();
        T result = default!;
        Exception? failure = null;
        loop.PostFromAnyThread(() => RunAsync().Forget());
        Require(done.Wait(Patience), "the loop answers");
        return failure is null ? result : throw failure;

        async LoopTask<int> RunAsync()
        {
            try
            {
                result = await start();
            }
            catch (Exception error)
            {
                failure = error;
            }

            done.Set();
            return 0;
        }
    }

    private static void Require(bool condition, string what)
    {
        if (!condition)
            throw new TimeoutException($"not within {Patience.TotalSeconds} s: {what}");
    }
}
