using System;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Scheduling;

namespace Qcow2Blk.Devices;

/// <summary>The makers of bases: libcurl's sources, our NBD client, caches on the local disk.</summary>
internal static class RemoteMakers
{
    public static BaseMakers Real { get; } = new()
    {
        CreateSource = (RemoteLocation location, RemoteSettings settings, Action<string> report, out IRemoteSource? source) =>
        {
            source = null;
            return "not yet";
        },
        OpenCache = (settings, request, report) => new LoopTask<IChunkCache?>((IChunkCache?)null),
        FindKnown = (settings, name) => null,
        ParseManifest = (ReadOnlySpan<byte> file, string root, out IChunkProof? proof) =>
        {
            proof = null;
            return "not yet";
        },
        MaxManifestBytes = 1 << 26,
    };
}
