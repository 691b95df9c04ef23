using System;
using System.IO;
using System.Text;
using System.Threading;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Devices;

/// <summary>
/// One attached device in this process: its name, its image, its control socket and pid file, from attach to detach.
/// </summary>
public sealed class DeviceServer : IDisposable
{
    /// <summary>What a signal gives the requests in flight: less than the 90 s after which systemd kills.</summary>
    public static TimeSpan SignalTimeout { get; } = TimeSpan.FromSeconds(20);

    private static TimeSpan ForcedTimeout { get; } = TimeSpan.FromSeconds(5);

    private readonly DeviceClaim _claim;
    private readonly IDevice _device;
    private readonly ILog _log;
    private readonly string? _pidFile;
    private readonly ManualResetEventSlim _ended = new();
    private readonly Lock _detaching = new();
    private ControlServer? _control;
    private bool _detached;

    private DeviceServer(DeviceClaim claim, IDevice device, DeviceRecord record, ILog log)
    {
        _claim = claim;
        _device = device;
        _log = log;
        _pidFile = record.Options.PidFile;
        Record = record;
    }

    /// <summary>What the state file says.</summary>
    public DeviceRecord Record { get; }

    /// <summary>Claims a name, opens the image and makes it findable. Clients can connect when this returns.</summary>
    /// <exception cref="DeviceException">the device cannot be attached; nothing is left behind</exception>
    public static DeviceServer Start(AttachOptions options, IDeviceFactory factory, DeviceRegistry registry, ILog log)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(factory);
        ArgumentNullException.ThrowIfNull(registry);
        AttachRules.Check(options);
        Signals.IgnoreBrokenPipes();
        DeviceClaim claim = registry.Claim(options, name => new DeviceRecord
        {
            Name = name,
            Image = options.Image,
            Pid = Environment.ProcessId,
            Started = DateTimeOffset.UtcNow,
            Options = options,
        });
        try
        {
            return Open(options, factory, registry, claim, log);
        }
        catch
        {
            claim.Dispose();
            throw;
        }
    }

    private static DeviceServer Open(AttachOptions options, IDeviceFactory factory, DeviceRegistry registry,
        DeviceClaim claim, ILog log)
    {
        // A dead server of this name left its socket; the claim is ours, so nobody else's can be there.
        string socket = registry.Directory.SocketOf(claim.Name);
        _ = Unistd.Unlink(socket);
        IDevice device = factory.Open(options, claim.Name, log);
        try
        {
            var record = new DeviceRecord
            {
                Name = claim.Name,
                Image = options.Image,
                Uri = device.Uri,
                DevicePath = device.DevicePath,
                Pid = Environment.ProcessId,
                Started = DateTimeOffset.UtcNow,
                Options = options,
            };
            var server = new DeviceServer(claim, device, record, log);
            server._control = new ControlServer(socket, device, server.Detach, log);
            claim.Publish(record);
            server.WritePidFile();
            log.Info($"attached {options.Image} as {claim.Name}, serving {device.Uri ?? device.DevicePath}");
            return server;
        }
        catch
        {
            device.Detach(force: true, SignalTimeout);
            device.Dispose();
            throw;
        }
    }

    /// <summary>Ends the device. After success <see cref="WaitForEnd"/> returns.</summary>
    public DeviceResult Detach(bool force, TimeSpan timeout)
    {
        lock (_detaching)
        {
            if (_detached)
                return DeviceResult.Done($"{Record.Name} is already detached");
            DeviceResult result = _device.Detach(force, timeout);
            _detached = result.Succeeded;
            if (_detached)
                _ended.Set();
            return result;
        }
    }

    /// <summary>Blocks until the device was detached, or <see cref="RequestEnd"/> was called.</summary>
    public void WaitForEnd() => _ended.Wait();

    /// <summary>Makes <see cref="WaitForEnd"/> return: a signal came. Safe from any thread.</summary>
    public void RequestEnd() => _ended.Set();

    /// <summary>
    /// Detaches if no command did: as asked, or by force if that does not work within its time.
    /// </summary>
    /// <returns>how it went; anything but done means that data may not have reached the disk</returns>
    public DeviceResult Finish()
    {
        DeviceResult result = Detach(force: false, SignalTimeout);
        if (result.Succeeded)
            return result;
        _log.Error(DeviceException.Compose(result.What ?? "cannot detach", result.Why ?? "unknown", result.Hint));
        Detach(force: true, ForcedTimeout);
        return result;
    }

    /// <summary>
    /// Removes everything that makes the device findable. Control connections are cut last: that is how
    /// <c>qcow2blk detach</c> knows that nothing is left.
    /// </summary>
    public void Dispose()
    {
        _device.Dispose();
        if (_pidFile is not null)
            _ = Unistd.Unlink(_pidFile);
        _claim.Dispose();
        _control?.Dispose();
        _ended.Dispose();
    }

    private void WritePidFile()
    {
        if (_pidFile is null)
            return;
        try
        {
            File.WriteAllBytes(_pidFile, Encoding.ASCII.GetBytes($"{Environment.ProcessId}\n"));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new DeviceException(ExitStatus.Failed, $"cannot write the pid file {_pidFile}", error.Message, null, error);
        }
    }
}
