using Qcow2Blk.Crypto;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Format;
using Qcow2Blk.Image;
using Qcow2Blk.Image.Opening;
using Qcow2Blk.Scheduling;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Devices;

/// <summary>Opening an image whose guest data may be encrypted.</summary>
internal sealed partial class ImageChain
{
    private async LoopTask<Qcow2Image> OpenImageAsync(
        IBlockStorage file, Header header, IBlockStorage? dataFile, ImageOptions options)
    {
        var data = await DecryptAsync(file, dataFile, header);
        try
        {
            return await Qcow2Image.OpenAsync(file, options, _disk, data);
        }
        catch
        {
            // The files stay with the chain, but for a data file that is behind what decrypts it.
            if (!ReferenceEquals(data, dataFile))
            {
                data?.Dispose();
                _files[^1] = _files[^1] with { Data = null };
            }

            throw;
        }
    }

    /// <summary>Where guest data is, decrypted; null if it is in the image as it is.</summary>
    private async LoopTask<IBlockStorage?> DecryptAsync(IBlockStorage file, IBlockStorage? dataFile, Header header)
    {
        if (header.CryptMethod == 0)
            return dataFile;
        if (!_options.HasKey)
        {
            throw new ImageFormatException(
                header.Path, "crypt_method", "the image is encrypted, and no key was given for it", KeyOptions.HowToGive)
            {
                IsMissing = true,
            };
        }

        var keys = KeySources.Read(_options);
        try
        {
            return await DiskKey.OpenAsync(file, dataFile ?? file, header, keys);
        }
        finally
        {
            KeySources.Dispose(keys, _options);
        }
    }
}
