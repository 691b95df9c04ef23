using System;
using System.Collections.Generic;
using System.IO;
using Qcow2Blk.Format;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Inspect;

/// <summary>An image and all its backing files, the image first.</summary>
internal sealed class InspectedChain : IDisposable
{
    private readonly List<InspectedImage> _images = [];
    private readonly HashSet<FileIdentity> _files = [];

    private InspectedChain()
    {
    }

    public IReadOnlyList<InspectedImage> Images => _images;

    /// <summary>Why the chain ends before its end; null if it is whole.</summary>
    public Exception? Broken { get; private set; }

    /// <summary>Opens an image, and of its backing files as many as can be opened.</summary>
    /// <param name="path">the image</param>
    /// <param name="format">its format</param>
    /// <param name="choice">what the user says of backing files</param>
    /// <exception cref="IOException">the image itself cannot be read</exception>
    /// <exception cref="ImageFormatException">the image itself is not what it should be</exception>
    public static InspectedChain Open(string path, ImageFormat format, BackingChoice choice = default)
    {
        var chain = new InspectedChain();
        chain.Add(InspectedImage.Open(path, format));
        try
        {
            while (chain._images[^1].Header is { } header && choice.Below(header, chain._images.Count == 1) is { } below)
                chain.Append(header, below);
        }
        catch (Exception error) when (error is IOException or ImageFormatException)
        {
            chain.Broken = error;
        }

        return chain;
    }

    public void Dispose() => _images.ForEach(image => image.Dispose());

    private void Add(InspectedImage image)
    {
        _images.Add(image);
        _files.Add(image.File.Identity);
    }

    private void Append(Header overlay, in BackingReference below)
    {
        var backing = InspectedImage.Open(below.Path, below.Format);
        var refusal = _files.Contains(backing.File.Identity) ? $"{below.What} is already in the chain: it has a cycle"
            : _images.Count == Limits.MaxBackingDepth ? $"more than {Limits.MaxBackingDepth} files in the backing chain"
            : null;
        if (refusal is null)
        {
            Add(backing);
            return;
        }

        backing.Dispose();
        throw new ImageFormatException(overlay.Path, "backing_file_name", refusal);
    }
}
