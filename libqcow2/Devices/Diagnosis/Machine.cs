using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Devices.Registry;
using Qcow2Blk.Exports.NbdKernel;
using Qcow2Blk.Exports.Ublk;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices.Diagnosis;

/// <summary>What is looked at: this machine, or one that a test has made of files.</summary>
internal sealed record Machine
{
    /// <summary>Put before the paths of files.</summary>
    public string Root { get; init; } = "";

    public bool IsRoot { get; init; } = Unistd.EffectiveUser() == 0;

    /// <summary>Where programs are looked for.</summary>
    public string SearchPath { get; init; } = Environment.GetEnvironmentVariable("PATH") ?? "";

    /// <summary>Asks the driver of ublk; loads it as attach does.</summary>
    public Func<UblkAvailability> Ublk { get; init; } = UblkControl.Availability;

    /// <summary>Asks the kernel's NBD driver; loads it as attach does.</summary>
    public Func<KernelNbdAvailability> KernelNbd { get; init; } = KernelNbdAvailability.Probe;

    /// <summary>Opens libcurl: what it is, or why it cannot be used.</summary>
    public Func<(string? Version, string? Failure)> Curl { get; init; } = FindCurl;

    /// <summary>0 if there is an io_uring, or a negative errno.</summary>
    public Func<int> IoUring { get; init; } = Interop.IoUring.Probe;

    /// <summary>0 if the node can be opened for reading and writing, or a negative errno.</summary>
    public Func<string, int> OpenNode { get; init; } = Open;

    /// <summary>The runtime directory, and why it cannot be used; null if it can.</summary>
    public Func<(string Path, OutcomeException? Refusal)> RuntimeDirectory { get; init; } = FindRuntimeDirectory;

    public bool Has(string path) => File.Exists(Root + path) || Directory.Exists(Root + path);

    /// <returns>empty if there is no such file</returns>
    public string Read(string path)
    {
        try
        {
            return File.ReadAllText(Root + path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    /// <returns>where it is; null if it is nowhere</returns>
    public string? Program(string name) => SearchPath.Split(':').Concat((IEnumerable<string>)["/usr/sbin", "/sbin"])
        .Where(folder => folder.StartsWith('/')).Select(folder => Path.Combine(folder, name)).FirstOrDefault(Has);

    private static int Open(string path)
    {
        var fd = Files.Open(path, O_RDWR | O_CLOEXEC);
        return fd < 0 ? fd : Unistd.Close(fd);
    }

    private static (string? Version, string? Failure) FindCurl() =>
        LibCurl.Load() is { } failure ? (null, failure) : (LibCurl.Version().Split(' ')[0].Replace('/', ' '), null);

    private static (string Path, OutcomeException? Refusal) FindRuntimeDirectory()
    {
        var directory = Registry.RuntimeDirectory.Locate();
        try
        {
            directory.Ensure();
            return (directory.Path, null);
        }
        catch (OutcomeException refusal)
        {
            return (directory.Path, refusal);
        }
    }
}
