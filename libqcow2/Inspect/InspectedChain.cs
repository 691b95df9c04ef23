using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Format;

namespace Qcow2Blk.Inspect;

/// <summary>An image and all its backing files, the image first.</summary>
public sealed class InspectedChain : IDisposable
{
    private readonly List<InspectedImage> _images = [];

    private InspectedChain()
    {
    }

    public IReadOnlyList<InspectedImage> Images => _images;

    /// <summary>Why the chain ends before its end; null if it is whole.</summary>
    public Exception? Broken { get; private set; }

    /// <summary>Opens an image, and of its backing files as many as can be opened.</summary>
    /// <exception cref="IOException">the image itself cannot be read</exception>
    /// <exception cref="ImageFormatException">the image itself is not what it should be</exception>
    public static InspectedChain Open(string path, ImageFormat format)
    {
        var chain = new InspectedChain();
        chain._images.Add(InspectedImage.Open(path, format));
        try
        {
            while (chain._images[^1].Header is { BackingFile: { } backing } header)
                chain.Append(header, BackingPath.Resolve(header.Path, backing));
        }
        catch (Exception error) when (error is IOException or ImageFormatException)
        {
            chain.Broken = error;
        }
        return chain;
    }

    public void Dispose() => _images.ForEach(image => image.Dispose());

    private void Append(Header overlay, string path)
    {
        if (_images.Count == Limits.MaxBackingDepth)
            throw new ImageFormatException(overlay.Path, "backing_file_name", $"more than {Limits.MaxBackingDepth} files in the backing chain");
        InspectedImage backing = InspectedImage.Open(path, BackingFormatRule.Require(overlay));
        if (_images.Any(image => image.File.Identity == backing.File.Identity))
        {
            backing.Dispose();
            throw new ImageFormatException(overlay.Path, "backing_file_name", $"backing file \"{overlay.BackingFile}\" is already in the chain: it has a cycle");
        }
        _images.Add(backing);
    }
}
