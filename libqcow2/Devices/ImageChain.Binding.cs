using System.Collections.Generic;
using System.IO;
using System.Linq;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Interop;
using Qcow2Blk.Logging;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Devices;

/// <summary>An overlay belongs to one version of its base in a store: which one it was is in its header.</summary>
internal sealed partial class ImageChain
{
    /// <summary>
    /// Refuses a base that is not the one that the image was written over. At the first attach, notes which one that is.
    /// </summary>
    private async LoopTask<int> BindAsync()
    {
        List<(long, string?)> parts = [.. _files.SelectMany(file => (IBlockStorage?[])[file.File, file.Data]).OfType<RemoteStorage>()
            .Select(storage => (storage.Length, storage.Version))];
        if (parts.Count == 0 || _files[0].Header is not { } overlay)
            return 0;
        var (found, noted) = (BaseVersion.Of(parts), BaseVersion.In(overlay));
        if (found == noted)
            return 0;
        if (noted?.Allows(found) == false && _options is not { RebindBase: true, IsOpenedAgain: false })
            throw Rebound(overlay, noted, found);
        if (MayBind(overlay))
            await BindAsync(overlay, found);
        return 0;
    }

    /// <summary>A log of a dead server is of the header as it was then: it is noted at the next attach.</summary>
    private bool MayBind(Header overlay) => !ReadOnlyTop && !_options.IsForEditAlone && overlay.Version > 2
        && !(_recovery.Replay && File.Exists(_recovery.Path));

    private async LoopTask<int> BindAsync(Header overlay, BaseVersion version)
    {
        var file = _files[0].File;
        var (error, block) = await HeaderBlock.LoadAsync(file);
        using (block)
        {
            try
            {
                if (error == 0)
                    error = await block!.SetBaseVersionAsync(version, overlay.ClusterSize);
            }
            catch (ImageFormatException full)
            {
                _log.Warning($"{full.Message}: if the base is replaced, the next attach will not notice");
                return 0;
            }
        }

        if (error < 0)
            throw new IOException($"cannot note the version of the base in {file.Path}: {Errno.Text(error)}", -error);
        _files[0] = _files[0] with { Header = await ImageOpener.ReadHeaderAsync(file) };
        return 0;
    }

    private static ImageFormatException Rebound(Header overlay, BaseVersion noted, BaseVersion found) => new(overlay.Path, "backing_file",
        $"it was written over another version of its base: {noted}, and now it is {found}",
        (noted.Version.StartsWith(BaseOpening.PinnedVersion, System.StringComparison.Ordinal)
            ? $"--sha256 {noted.Version[BaseOpening.PinnedVersion.Length..]} accepts only that one; " : "")
        + "--rebind-base, if both hold the same");
}
