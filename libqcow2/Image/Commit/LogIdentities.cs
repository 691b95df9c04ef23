using System;
using Qcow2Blk.Format;
using Qcow2Blk.Image.Log;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Commit;

/// <summary>By what a recovery log knows its image.</summary>
internal static class LogIdentities
{
    public static LoggedImage Of(IBlockStorage file, Header header)
    {
        var (major, minor, inode) = file.Identity.GetValueOrDefault();
        var identity = new LogIdentity(((ulong)major << 32) | minor, inode, BootOfKernel(), header.Size,
            header.L1TableOffset.Value, header.L1Size, header.SnapshotsOffset.Value, header.SnapshotCount, HashOf(header));
        return new LoggedImage(identity, header.Version < 3 ? null : header.Autoclear.RecoveryMark(), file.Modified());
    }

    private static ulong BootOfKernel()
    {
        Span<byte> bytes = stackalloc byte[16];
        return Guid.TryParse(System.IO.File.ReadAllText("/proc/sys/kernel/random/boot_id"), out var boot) && boot.TryWriteBytes(bytes)
            ? BitConverter.ToUInt64(bytes)
            : 0;
    }

    /// <summary>Everything in the header that a server of ours never changes, and that has no field of its own in the identity.</summary>
    private static ulong HashOf(Header header)
    {
        const IncompatibleFeatures changing = IncompatibleFeatures.Dirty | IncompatibleFeatures.Corrupt;
        var hash = LogHash.Add(0, (ulong)header.Version);
        hash = LogHash.Add(hash, (ulong)header.ClusterBits);
        hash = LogHash.Add(hash, (ulong)header.RefcountOrder);
        hash = LogHash.Add(hash, (ulong)header.CryptMethod);
        hash = LogHash.Add(hash, (ulong)(header.Incompatible & ~changing));
        hash = LogHash.Add(hash, (ulong)header.Compatible);
        hash = LogHash.Add(hash, System.Text.Encoding.UTF8.GetBytes(header.BackingFile ?? ""));
        foreach (var extension in header.Extensions)
            hash = LogHash.Add(LogHash.Add(hash, extension.Type), extension.Data);
        return hash;
    }
}
