using System;
using System.Buffers.Binary;
using System.IO;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Inspect;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote.Manifests;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Creation;

/// <summary>A manifest that was written, or that an image was compared with.</summary>
/// <param name="Path">its name</param>
/// <param name="Root">its root hash</param>
/// <param name="Header">what it is of</param>
/// <param name="ZeroChunks">how many chunks hold nothing but zeroes</param>
/// <param name="BadChunks">how many chunks of the image are not what the manifest says</param>
/// <param name="FirstBadChunk">the first of them; -1 if there is none</param>
internal sealed record ManifestReport(
    string Path, string Root, ManifestHeader Header, long ZeroChunks, long BadChunks = 0, long FirstBadChunk = -1);

/// <summary>Writes the manifest of an image file, and compares a file with its manifest.</summary>
internal static class ManifestCreation
{
    /// <summary>Writes a manifest, whole or not at all.</summary>
    /// <param name="path">the image file, as it will lie in a store; nobody may be writing it</param>
    /// <param name="target">the manifest; another one of that name is replaced</param>
    /// <param name="chunkBytes">bytes of a chunk</param>
    /// <param name="progress">hears what is done and the fraction that is done</param>
    /// <exception cref="OutcomeException">it cannot be done</exception>
    public static ManifestReport Create(string path, string target, int chunkBytes, Action<string, double>? progress)
    {
        RequireDigest($"cannot make a manifest of {path}");
        using var image = InspectedFile.Open(path);
        RequireReplaceable(target, image);
        ImageLock.Acquire(image.Descriptor, path, write: false);
        var header = HeaderOf(image, chunkBytes);

        // Begun first: who may not write there hears of it before the image is read.
        using var file = NewFile.Begin(target, force: true);
        if (file.DeviceBytes is not null)
            throw new OutcomeException(OutcomeKind.Invalid, $"cannot write {target}", "it is a block device", "a manifest is a file");
        var hashes = ChunkHashes.Compute(image, header, progress);
        var bytes = new byte[header.FileBytes];
        header.Write(bytes);
        hashes.All.CopyTo(bytes.AsSpan(ManifestHeader.Bytes));
        file.SetLength(bytes.Length);
        file.Write(0, bytes);
        file.Publish();
        return new ManifestReport(target, Manifest.RootOf(bytes), header, hashes.ZeroChunks);
    }

    /// <summary>Compares an image file with a manifest.</summary>
    /// <exception cref="OutcomeException">it cannot be done; that they differ is not one</exception>
    public static ManifestReport Check(string path, string manifestPath, Action<string, double>? progress)
    {
        RequireDigest($"cannot check {path}");
        var manifest = Read(manifestPath);
        using var image = InspectedFile.Open(path);
        ImageLock.Acquire(image.Descriptor, path, write: false);
        if (image.Length != manifest.Length)
        {
            throw new OutcomeException(OutcomeKind.Failed, $"{path} is not what {manifestPath} says",
                $"it has {image.Length} bytes, not {manifest.Length}");
        }

        var header = HeaderOf(image, manifest.ChunkBytes);
        var hashes = ChunkHashes.Compute(image, header, progress);
        var (bad, first) = (0L, -1L);
        for (var chunk = 0L; chunk < header.Chunks; chunk++)
        {
            if (hashes.Of(chunk).SequenceEqual(manifest.HashOf(chunk)))
                continue;
            first = bad++ == 0 ? chunk : first;
        }

        return new ManifestReport(manifestPath, manifest.Root, header, hashes.ZeroChunks, bad, first);
    }

    private static Manifest Read(string path)
    {
        using var file = InspectedFile.Open(path);
        var what = $"cannot read {path}";
        if (file.Length > Manifest.MaxBytes)
        {
            throw new OutcomeException(OutcomeKind.Failed, what,
                $"it has {file.Length} bytes, more than {Manifest.MaxBytes}, the longest manifest");
        }

        var bytes = new byte[file.Length];
        file.Read(0, bytes);
        return Manifest.ParseTrusted(bytes, out var manifest) is { } wrong
            ? throw new OutcomeException(OutcomeKind.Failed, what, wrong)
            : manifest!;
    }

    private static ManifestHeader HeaderOf(InspectedFile image, int chunkBytes)
    {
        var what = $"cannot make a manifest of {image.Path}";
        if (image.Length == 0)
            throw new OutcomeException(OutcomeKind.Failed, what, "it is empty");
        var header = new ManifestHeader(image.Length, chunkBytes);
        return header.Chunks <= ManifestHeader.MaxChunks ? header : throw new OutcomeException(OutcomeKind.Failed, what,
            $"its {image.Length} bytes are {header.Chunks} chunks, more than {ManifestHeader.MaxChunks}",
            "a larger --chunk-size, of up to 4M, makes fewer");
    }

    /// <summary>An image whose name was given by mistake is not lost.</summary>
    private static void RequireReplaceable(string target, InspectedFile image)
    {
        var error = FoundFile.Find(target, out var found);
        if (error == -Errno.ENOENT)
            return;
        var what = $"cannot write {target}";
        if (error < 0)
            throw new OutcomeException(OutcomeKind.Failed, what, Errno.Text(error));
        using (found)
        {
            found!.RequireImageFile();
            if (found.Identity == image.Identity)
                throw new OutcomeException(OutcomeKind.Invalid, what, "it is the image itself", "choose another --output");
        }

        using var there = InspectedFile.Open(target);
        var magic = new byte[sizeof(uint)];
        if (there.Length == 0)
            return;
        there.Read(0, magic);
        if (BinaryPrimitives.ReadUInt32BigEndian(magic) != ManifestHeader.Magic)
        {
            throw new OutcomeException(OutcomeKind.Failed, what, "it already exists and is not a manifest",
                "choose another --output, or remove it");
        }
    }

    private static void RequireDigest(string what)
    {
        if (LibCrypto.Load() is { } failure)
            throw new OutcomeException(OutcomeKind.Failed, what, failure, "manifests need OpenSSL's libcrypto");
    }
}
