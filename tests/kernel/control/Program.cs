using System;
using System.Collections;
using System.Diagnostics;
using System.IO;
using System.Linq;
using System.Threading.Tasks;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Interop;
using Qcow2Blk.Tests.Kernel;
using static Qcow2Blk.Interop.Ublk;
using static Qcow2Blk.Tests.Kernel.Checks;

// Every control command against the ublk of the running kernel. As root: ublk-control-tests. As a user who may open
// /dev/ublk-control and the nodes of the devices: ublk-control-tests unprivileged [keep].
const long size = 64 << 20;
var checks = new Checks();
var availability = UblkControl.Availability();
if (availability.Refusal is { } refusal)
{
    Console.WriteLine($"no ublk: {refusal.Message} ({refusal.Hint})");
    return 77;
}

using var control = UblkControl.Open();
var recoverable = UBLK_F_USER_RECOVERY | UBLK_F_USER_RECOVERY_REISSUE | (availability.Features & UBLK_F_UPDATE_SIZE);
var usual = NullServer.Disk(size);
Console.WriteLine($"features 0x{availability.Features:x}, unprivileged {availability.IsUnprivileged}");
Console.WriteLine($"warnings: {string.Join("; ", availability.Warnings)}");
if (args is ["unprivileged", ..])
{
    checks.Run("Device of a user lives without any right", () => Unprivileged(keep: args.Contains("keep")));
    return checks.End();
}

if (args is ["end", var left])
{
    checks.Run("Device of a user can be seen and deleted by root", () => EndOfAnothers(int.Parse(left, null)));
    return checks.End();
}

checks.Run("Features name the ioctl encoding", () => True(availability.Has(UBLK_F_CMD_IOCTL_ENCODE), "no ioctl encoding"));
checks.Run("Missing device is no device", () => Answer(-Errno.ENODEV, control.GetDeviceInfo(4000, out _), "GET_DEV_INFO"));
checks.Run("Added device is as it was asked for, listed and dead", Add);
checks.Run("Number that is taken is refused", AddTwice);
checks.Run("Parameters are kept, and accepted for every kind of disk", Parameters);
checks.Run("Wrong parameters are refused", WrongParameters);
checks.Run("Processors of all queues are the machine's", Affinity);
checks.Run("Start without fetches times out, and the ring goes on", StartTimesOut);
checks.Run("Character device has one server", OneServer);
checks.Run("Deletion waits for the server's descriptor no longer than it may", DeleteTimesOut);
checks.Run("Size of a device without a disk does not change", ResizeTooEarly);
checks.Run("Recovery is refused where there is nothing to recover", NothingToRecover);
checks.Run("Started device shows its parameters to users", Limits);
checks.Run("Size changes while users look", Resize);
checks.Run("Stop with users is refused if asked to", TryStop);
checks.Run("Device lives on with a second server", Recover);
checks.Run("Deletion without waiting deletes", DeleteAsync);
checks.Run("Command that hangs is given up, and the next one is answered", GivenUp);
checks.Run("Two hundred devices leave nothing behind", Many);
checks.Run("Nothing is left", () => Equal(0, UblkDevices.List(control).Count, "devices"));
return checks.End();

int Made(ulong flags)
{
    var info = NullServer.Wanted(flags);
    Answer(0, control.AddDevice(ref info), "ADD_DEV");
    return (int)info.dev_id;
}

void Started(UblkDisk disk, Action<int, NullServer> use, ulong flags)
{
    SkippedException? skipped = null;
    var device = Made(flags);
    Answer(0, control.SetParameters(device, UblkParameters.Of(disk)), "SET_PARAMS");
    using (var server = new NullServer(device))
    {
        Answer(0, control.StartDevice(device, Environment.ProcessId), "START_DEV");
        Answer(0, UblkNodes.WaitForBlock(device), "waiting for the block device");
        try
        {
            use(device, server);
        }
        catch (SkippedException reason)
        {
            skipped = reason;
        }

        Answer(0, control.StopDevice(device), "STOP_DEV");
    }

    Answer(0, control.DeleteDevice(device), "DEL_DEV");
    Answer(0, UblkNodes.WaitForEnd(device), "waiting for the end of the node");
    if (skipped is not null)
        throw skipped;
}

ushort State(int device)
{
    Answer(0, control.GetDeviceInfo(device, out var info), "GET_DEV_INFO");
    return info.state;
}

void Add()
{
    var info = NullServer.Wanted(recoverable);
    Answer(0, control.AddDevice(ref info), "ADD_DEV");
    True(info.dev_id != AnyDevice, "no number");
    Equal(recoverable, info.flags & recoverable, "flags");
    Equal((1, 4, 64u << 10), (info.nr_hw_queues, info.queue_depth, info.max_io_buf_bytes), "queues");
    Answer(0, control.GetDeviceInfo((int)info.dev_id, out var asked), "GET_DEV_INFO");
    Equal((info.flags, info.dev_id), (asked.flags, asked.dev_id), "what GET_DEV_INFO says");
    var found = UblkDevices.List(control).Single();
    True(found is { IsOurs: true, State: "dead", IsRecoverable: false } && found.Number == info.dev_id, $"listed as {found}");
    Answer(0, control.DeleteDevice(found.Number), "DEL_DEV");
    Answer(-Errno.ENODEV, control.DeleteDevice(found.Number), "DEL_DEV of what is gone");
}

void AddTwice()
{
    var info = NullServer.Wanted(0);
    info.dev_id = 7;
    Answer(0, control.AddDevice(ref info), "ADD_DEV");
    Answer(-Errno.EEXIST, control.AddDevice(ref info), "ADD_DEV again");
    Answer(0, control.DeleteDevice(7), "DEL_DEV");
}

void Parameters()
{
    var device = Made(recoverable);
    foreach (var block in (int[])[512, 4096])
    {
        foreach (var alignment in (int[])[0, 512, 4096])
        {
            foreach (var cluster in (int[])[512, 65536, 2 << 20])
            {
                foreach (var readOnly in (bool[])[false, true])
                {
                    var set = UblkParameters.Of(
                        usual with { LogicalBlockSize = block, MemoryAlignment = alignment, ClusterSize = cluster, IsReadOnly = readOnly });
                    Answer(0, control.SetParameters(device, set), $"SET_PARAMS {block} {alignment} {cluster} {readOnly}");
                    Answer(0, control.GetParameters(device, out var kept), "GET_PARAMS");
                    Equal(set.basic, kept.basic, "basic parameters");
                    Equal(set.discard, kept.discard, "discard parameters");
                    True(kept.devt.char_major != 0, "no device number");
                }
            }
        }
    }

    Answer(0, control.DeleteDevice(device), "DEL_DEV");
}

void WrongParameters()
{
    var device = Made(recoverable);
    var wrong = UblkParameters.Of(usual);
    wrong.basic.logical_bs_shift = 13;
    Answer(-Errno.EINVAL, control.SetParameters(device, wrong), "SET_PARAMS with blocks of 8 KiB");
    Answer(-Errno.EINVAL, control.SetParameters(device, UblkParameters.Of(usual with { MaxIoBytes = 1 << 20 })),
        "SET_PARAMS with too long requests");
    Answer(0, control.DeleteDevice(device), "DEL_DEV");
}

void Affinity()
{
    var info = NullServer.Wanted(recoverable);
    info.nr_hw_queues = 64;
    Answer(0, control.AddDevice(ref info), "ADD_DEV");
    Equal(Environment.ProcessorCount, info.nr_hw_queues, "queues");
    var all = 0;
    for (var queue = 0; queue < info.nr_hw_queues; queue++)
    {
        Answer(0, control.GetQueueAffinity((int)info.dev_id, queue, out var processors), "GET_QUEUE_AFFINITY");
        all += processors.Cast<bool>().Count(set => set);
    }

    Equal(Environment.ProcessorCount, all, "processors of all queues");
    Answer(-Errno.EINVAL, control.GetQueueAffinity((int)info.dev_id, 64, out _), "GET_QUEUE_AFFINITY of no queue");
    Answer(0, control.DeleteDevice((int)info.dev_id), "DEL_DEV");
}

void StartTimesOut()
{
    var device = Made(recoverable);
    Answer(0, control.SetParameters(device, UblkParameters.Of(usual)), "SET_PARAMS");
    var began = Stopwatch.GetTimestamp();
    Answer(-Errno.ETIMEDOUT, control.StartDevice(device, Environment.ProcessId, TimeSpan.FromSeconds(1)), "START_DEV");
    var took = Stopwatch.GetElapsedTime(began).TotalSeconds;
    True(took is > 0.9 and < 10, $"START_DEV took {took} s");
    Equal(0, control.Unanswered, "commands given up");
    Answer(0, control.DeleteDevice(device), "DEL_DEV");
}

void OneServer()
{
    var device = Made(recoverable);
    var first = UblkNodes.OpenCharacter(device);
    True(first >= 0, $"opening: {first}");
    Answer(-Errno.EBUSY, UblkNodes.OpenCharacter(device, TimeSpan.FromMilliseconds(100)), "a second opening");
    Files.Close(first);
    var second = UblkNodes.OpenCharacter(device);
    True(second >= 0, $"opening after the first closed: {second}");
    Files.Close(second);
    Answer(0, control.DeleteDevice(device), "DEL_DEV");
}

void DeleteTimesOut()
{
    var device = Made(recoverable);
    var server = UblkNodes.OpenCharacter(device);
    Answer(-Errno.ETIMEDOUT, control.DeleteDevice(device, timeout: TimeSpan.FromSeconds(1)), "DEL_DEV while the server is there");
    Equal(0, control.Unanswered, "commands given up");
    Files.Close(server);
    Answer(0, UblkNodes.WaitForEnd(device), "waiting for the end of the node");
    True(control.DeleteDevice(device) is 0 or -Errno.ENODEV, "DEL_DEV again");
    Answer(-Errno.ENODEV, control.GetDeviceInfo(device, out _), "GET_DEV_INFO");
}

void ResizeTooEarly()
{
    var device = Made(recoverable);
    Answer(-Errno.ENODEV, control.UpdateSize(device, 2048), "UPDATE_SIZE");
    Answer(0, control.DeleteDevice(device), "DEL_DEV");
}

void NothingToRecover()
{
    var device = Made(recoverable);
    // Linux 6.12 says the latter: no queue was ever ready.
    var answer = control.StartUserRecovery(device);
    True(answer is -Errno.EBUSY or -Errno.EINVAL, $"START_USER_RECOVERY of a device that was never started: {answer}");
    Answer(0, control.DeleteDevice(device), "DEL_DEV");
    Answer(-Errno.ENODEV, control.StartUserRecovery(device), "START_USER_RECOVERY of no device");
    Started(usual, (live, _) => Answer(-Errno.EBUSY, control.StartUserRecovery(live), "START_USER_RECOVERY of a live device"), recoverable);
    Started(usual, (live, _) => Answer(-Errno.EINVAL, control.StartUserRecovery(live), "START_USER_RECOVERY without the flag"), 0);
}

string Queue(int device, string name) => File.ReadAllText($"/sys/block/ublkb{device}/queue/{name}").Trim();

void Limits()
{
    Started(usual, (device, _) =>
    {
        Equal(UBLK_S_DEV_LIVE, State(device), "state");
        Equal(size / 512, long.Parse(File.ReadAllText($"/sys/block/ublkb{device}/size"), null), "size");
        Equal("512 4096 4096 65536", string.Join(' ', Queue(device, "logical_block_size"), Queue(device, "physical_block_size"),
            Queue(device, "minimum_io_size"), Queue(device, "optimal_io_size")), "block sizes");
        Equal("65536 1073741824 1073741824", string.Join(' ', Queue(device, "discard_granularity"), Queue(device, "discard_max_bytes"),
            Queue(device, "write_zeroes_max_bytes")), "discard");
        Equal("1 write back 64", string.Join(' ', Queue(device, "fua"), Queue(device, "write_cache"), Queue(device, "max_sectors_kb")),
            "cache");
        Equal("0", File.ReadAllText($"/sys/block/ublkb{device}/ro").Trim(), "read-only");
        using var disk = File.OpenRead(UblkNodes.BlockPath(device));
        disk.ReadExactly(new byte[1 << 20]);
    }, recoverable);
    Started(usual with { IsReadOnly = true, LogicalBlockSize = 4096, MemoryAlignment = 512 }, (device, _) =>
    {
        Equal("1", File.ReadAllText($"/sys/block/ublkb{device}/ro").Trim(), "read-only");
        Equal("4096", Queue(device, "logical_block_size"), "blocks");
        if (File.Exists($"/sys/block/ublkb{device}/queue/dma_alignment") && availability.Has(UBLK_F_AUTO_BUF_REG))
            Equal("511", Queue(device, "dma_alignment"), "alignment of memory");
    }, recoverable);
}

void Resize() => Started(usual, (device, _) =>
{
    var answer = control.UpdateSize(device, size / 256);
    if ((recoverable & UBLK_F_UPDATE_SIZE) == 0)
    {
        Answer(-Errno.EOPNOTSUPP, answer, "UPDATE_SIZE");
        throw new SkippedException("UPDATE_SIZE is not in this kernel");
    }

    Answer(0, answer, "UPDATE_SIZE");
    Equal(size / 256, long.Parse(File.ReadAllText($"/sys/block/ublkb{device}/size"), null), "size");
}, recoverable);

void TryStop() => Started(usual, (device, _) =>
{
    using var user = File.OpenRead(UblkNodes.BlockPath(device));
    var answer = control.TryStopDevice(device);
    if (!availability.Has(UBLK_F_SAFE_STOP_DEV))
    {
        Answer(-Errno.EOPNOTSUPP, answer, "TRY_STOP_DEV");
        throw new SkippedException("TRY_STOP_DEV is not in this kernel");
    }

    Answer(-Errno.EBUSY, answer, "TRY_STOP_DEV");
    Equal(UBLK_S_DEV_LIVE, State(device), "state");
    user.Dispose();
    // udev may still be reading the new disk: a user, too.
    var began = Stopwatch.GetTimestamp();
    while ((answer = control.TryStopDevice(device)) == -Errno.EBUSY && Stopwatch.GetElapsedTime(began).TotalSeconds < 20)
        Task.Delay(20).Wait();
    Answer(0, answer, "TRY_STOP_DEV without users");
}, recoverable);

void Recover()
{
    var device = Made(recoverable);
    Answer(0, control.SetParameters(device, UblkParameters.Of(usual)), "SET_PARAMS");
    using (var first = new NullServer(device))
    {
        Answer(0, control.StartDevice(device, Environment.ProcessId), "START_DEV");
        Answer(0, UblkNodes.WaitForBlock(device), "waiting for the block device");
        Answer(-Errno.EACCES, control.SetParameters(device, UblkParameters.Of(usual)), "SET_PARAMS of a live device");
    }

    var began = Stopwatch.GetTimestamp();
    while (State(device) != UBLK_S_DEV_QUIESCED)
        True(Stopwatch.GetElapsedTime(began).TotalSeconds < 30, "the device is not quiesced");
    True(UblkDevices.List(control).Single().IsRecoverable, "not listed as recoverable");
    Answer(0, control.StartUserRecovery(device), "START_USER_RECOVERY");
    Answer(-Errno.ETIMEDOUT, control.EndUserRecovery(device, Environment.ProcessId, TimeSpan.FromSeconds(1)),
        "END_USER_RECOVERY without fetches");
    using (var second = new NullServer(device))
    {
        Answer(0, control.EndUserRecovery(device, Environment.ProcessId), "END_USER_RECOVERY");
        Equal(UBLK_S_DEV_LIVE, State(device), "state");
        using (var disk = File.OpenRead(UblkNodes.BlockPath(device)))
            disk.ReadExactly(new byte[1 << 20]);
        True(second.Served > 0, "the second server served nothing");
        Answer(0, control.StopDevice(device), "STOP_DEV");
    }

    Answer(0, control.DeleteDevice(device), "DEL_DEV");
}

void DeleteAsync()
{
    var device = Made(recoverable);
    Answer(0, control.DeleteDevice(device, async: true), "DEL_DEV_ASYNC");
    Answer(0, UblkNodes.WaitForEnd(device), "waiting for the end of the node");
}

void GivenUp() => Started(usual, (device, server) =>
{
    // Opened first: a scan for partitions whose read is held would hold this too.
    using var disk = File.OpenHandle(UblkNodes.BlockPath(device));
    server.Hold();
    var read = Task.Run(() => RandomAccess.Read(disk, new byte[4096], 32 << 20));
    while (File.ReadAllText($"/sys/block/ublkb{device}/inflight").Split(' ', StringSplitOptions.RemoveEmptyEntries)[0] == "0")
        Task.Delay(10).Wait();
    Answer(-Errno.ETIMEDOUT, control.StopDevice(device, TimeSpan.FromSeconds(1)), "STOP_DEV with a request that is held");
    Equal(1, control.Unanswered, "commands given up");
    Answer(0, control.GetFeatures(out _), "GET_FEATURES");
    server.Release();
    True(read.Wait(TimeSpan.FromSeconds(30)), "the read does not end");
}, recoverable);

void Many()
{
    var before = Directory.GetFileSystemEntries("/proc/self/fd").Length;
    for (var i = 0; i < 200; i++)
        Answer(0, control.DeleteDevice(Made(recoverable)), "DEL_DEV");
    Equal(before, Directory.GetFileSystemEntries("/proc/self/fd").Length, "descriptors");
}

void Unprivileged(bool keep)
{
    True(availability.IsUnprivileged, "this process has all rights");
    var privileged = NullServer.Wanted(recoverable);
    Answer(-Errno.EPERM, control.AddDevice(ref privileged), "ADD_DEV of a privileged device");
    var device = Made(UBLK_F_UNPRIVILEGED_DEV);
    var server = UblkNodes.OpenCharacter(device);
    True(server >= 0, $"opening: {server}");
    Files.Close(server);

    // Nothing is known of the device but its number: what another process of the user would know.
    using var other = UblkControl.Open();
    Answer(0, other.SetParameters(device, UblkParameters.Of(usual)), "SET_PARAMS");
    Answer(0, other.GetParameters(device, out var kept), "GET_PARAMS");
    Equal(UblkParameters.Of(usual).basic, kept.basic, "basic parameters");
    Answer(0, other.GetQueueAffinity(device, 0, out var processors), "GET_QUEUE_AFFINITY");
    True(processors.Cast<bool>().Any(set => set), "no processor");
    Answer(0, other.GetDeviceInfo(device, out var info), "GET_DEV_INFO");
    True((info.flags & UBLK_F_UNPRIVILEGED_DEV) != 0 && info.owner_uid != 0, $"flags {info.flags:x}, owner {info.owner_uid}");
    using (new NullServer(device))
    {
        Answer(0, other.StartDevice(device, Environment.ProcessId), "START_DEV");
        Equal(UBLK_S_DEV_LIVE, State(device), "state");
        Answer(0, other.StopDevice(device), "STOP_DEV");
    }

    if (keep)
        Console.WriteLine($"kept {device}");
    else
        Answer(0, other.DeleteDevice(device), "DEL_DEV");
}

void EndOfAnothers(int device)
{
    Answer(0, control.GetDeviceInfo(device, out var info), "GET_DEV_INFO");
    True((info.flags & UBLK_F_UNPRIVILEGED_DEV) != 0 && info.owner_uid != 0, $"flags {info.flags:x}, owner {info.owner_uid}");
    Answer(0, control.GetParameters(device, out _), "GET_PARAMS");
    Answer(0, control.DeleteDevice(device), "DEL_DEV");
}
