using System;
using System.IO;
using System.Linq;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Bases;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Devices;

/// <summary>Bases in stores: where the chain leaves this machine.</summary>
internal sealed partial class ImageChain
{
    // Of L2 tables: 64 GiB of an image with clusters of 64 KiB have 8 MiB of them.
    private const long MostTablesAhead = 16 << 20;

    private bool _baseIsUsed;

    /// <summary>The base, which is where the chain leaves this machine, whoever named it; null until it is open.</summary>
    private RemoteLocation? Base => _files.Select(file => file.File).OfType<RemoteStorage>().FirstOrDefault()?.Location;

    private bool BaseIsUnused => _options.Base is not null && !_baseIsUsed;

    /// <summary>
    /// The URL of what lies below an image, if its name is one, or if the image is in a store itself. The first takes its base from
    /// --base; names in images are trusted only if the options say so.
    /// </summary>
    /// <returns>null if it is a file, or nothing</returns>
    private RemoteLocation? UrlBelow(Header overlay)
    {
        if (overlay.BackingFile is not { } name || (_files.Count == 1 && _options.Backing is not null))
            return null;
        var remote = _files[^1].File as RemoteStorage;
        if (remote is null && !RemoteLocation.IsUrl(name))
            return null;
        if (remote is null && BaseIsUnused)
            return UseBase(overlay);
        var location = remote is null || RemoteLocation.IsUrl(name) ? Parse(overlay, name) : Beside(overlay, remote.Location, name);
        return _options.AllowRemoteBacking || IsLeftAway(remote) ? location : throw new ImageFormatException(overlay.Path, "backing_file",
            $"the image names {location.Name}, and names in images are not trusted",
            remote is null ? "--base URL says what its base is, --allow-remote-backing trusts the image"
                : "--allow-remote-backing trusts it");
    }

    private RemoteLocation UseBase(Header overlay)
    {
        _baseIsUsed = true;
        return Parse(overlay, _options.Base!);
    }

    /// <summary>The user means a base that nothing of the image leads to: that must not go unnoticed.</summary>
    private void RefuseUnusedBase()
    {
        if (!BaseIsUnused)
            return;
        var lowest = _files[^1];
        throw new ImageFormatException(lowest.File.Path, "backing_file",
            _files.Count == 1 && lowest.Header?.BackingFile is null
                ? "the image has no backing file: --base would change what its disk holds"
                : "the chain ends here, and no image of it names a URL or a file that is not there: --base has no place in it",
            "--backing FILE or a name in the image say where local files are");
    }

    private bool IsLeftAway(RemoteStorage? overlay) =>
        overlay is null && _options is { IsForEditAlone: true, AllowRemoteBacking: false, Base: null };

    /// <summary>Opens a base in a store, and looks at its header.</summary>
    private async LoopTask<int> OpenRemoteAsync(Header overlay, RemoteLocation location)
    {
        if (IsLeftAway(_files[^1].File as RemoteStorage))
        {
            _files.Add(new LockedFile(new AwayStorage(location.Name), null));
            return 0;
        }

        var format = Choice.FormatBelow(overlay, isFirst: _files.Count == 1);
        if (_files.Any(file => (file.File as RemoteStorage)?.Location.Text == location.Text))
            throw Bad(overlay, $"the backing chain leads back to {location.Name}");
        var storage = await OpenStorageAsync(location);
        try
        {
            var header = format == ImageFormat.Raw ? null : await ImageOpener.ReadHeaderAsync(storage);
            header?.RefuseUnsupported(forWriting: false);
            _files.Add(new LockedFile(storage, header));
        }
        catch (Exception failure)
        {
            storage.Dispose();
            if (failure is not IOException || storage.Trouble is not { } trouble)
                throw;
            var why = $"cannot read {location.Name}: {trouble}";
            throw new OutcomeException(OutcomeKind.Failed, $"cannot attach {_options.Image}", why);
        }

        if (_files[^1].Header is { } opened && opened.Incompatible.HasFlag(IncompatibleFeatures.DataFile))
            _files[^1] = _files[^1] with { Data = await OpenRemoteDataAsync(opened, location) };
        return 0;
    }

    /// <summary>The data file of an image in a store lies in that store, too.</summary>
    private async LoopTask<IBlockStorage> OpenRemoteDataAsync(Header header, RemoteLocation image)
    {
        var name = header.DataFileName ?? throw BadData(header, "the image does not say where its data file is");
        var location = RemoteLocation.IsUrl(name) ? Parse(header, name) : Beside(header, image, name);
        return _options.AllowRemoteBacking ? await OpenStorageAsync(location) : throw new ImageFormatException(
            header.Path, "data_file", $"the image names {location.Name}, and names in images are not trusted",
            "--allow-remote-backing trusts it");
    }

    private async LoopTask<RemoteStorage> OpenStorageAsync(RemoteLocation location)
    {
        // What was said of the base is not true of those below it.
        var settings = RemoteOptions.Resolve(_options) with { GoesOnRecording = _options.IsOpenedAgain };
        if (Base is { } above)
        {
            settings = settings with
            {
                Root = null,
                Manifest = null,
                Mirrors = [],
                Trace = null,
                RecordTrace = null,
                UrlCommand = null,
                CredentialsOf = above,

                // The name is the image's word: a server that it chose is none that a command should have to know.
                CredentialCommand = location.HasServerOf(above) ? settings.CredentialCommand : null,
            };
        }

        try
        {
            return await new BaseOpening(settings, RemoteMakers.Real, _log).OpenAsync(location);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new OutcomeException(OutcomeKind.Failed, $"cannot attach {_options.Image}", failure.Message);
        }
    }

    /// <summary>All is open: from now on requests wait as long as was asked for.</summary>
    private void ServeBases()
    {
        var timeout = RemoteOptions.Resolve(_options).SourceTimeout;
        foreach (var link in _links)
            link.Remote?.SetTimeout(timeout);
    }

    /// <summary>Lookups in tables that are here cost no way to the source: they are small, and every read begins with one.</summary>
    private static void FetchTablesAhead(IBlockStorage file, IDisk disk)
    {
        if (file is not RemoteStorage remote || disk is not Qcow2Image image)
            return;
        var left = MostTablesAhead;
        foreach (var table in image.TableOffsets)
        {
            if ((left -= image.ClusterBytes) < 0)
                break;
            remote.FetchAhead(table.Value, image.ClusterBytes, pin: true);
        }

        BaseTables.NoteUsedAsync(remote, image, MostTablesAhead).Forget();
    }

    /// <summary>A name that is relative to an image in a store.</summary>
    private static RemoteLocation Beside(Header header, RemoteLocation image, string name)
    {
        var mark = name.AsSpan().IndexOfAny(':', '/');
        if (!image.IsHttp || name.Length == 0 || (mark == 0) || (mark > 0 && name[mark] == ':'))
        {
            throw new ImageFormatException(header.Path, "backing_file",
                $"the image lies in a store, and \"{name}\" is not a name relative to it there");
        }

        var escaped = string.Join('/', name.Split('/').Select(Uri.EscapeDataString));
        return Parse(header, new Uri(image.Uri, escaped).AbsoluteUri);
    }

    private static RemoteLocation Parse(Header overlay, string url) => RemoteLocation.Parse(url, out var location) is { } wrong
        ? throw Bad(overlay, $"{url.Split('?')[0]} cannot be its base: {wrong}") : location!;
}
