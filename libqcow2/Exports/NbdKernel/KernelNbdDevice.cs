using System;
using System.Globalization;
using System.IO;
using System.Security.Cryptography;
using System.Text;

namespace Qcow2Blk.Exports.NbdKernel;

/// <summary>What sysfs tells of /dev/nbdN, and what we call things.</summary>
/// <param name="Index">N</param>
internal readonly record struct KernelNbdDevice(int Index)
{
    private const string NodePrefix = "/dev/nbd";
    private const int LongestPath = 512;

    /// <summary>The device node.</summary>
    public string Path => NodePrefix + Index.ToString(CultureInfo.InvariantCulture);

    /// <summary>The kernel's name of it.</summary>
    public string Name => Path["/dev/".Length..];

    private string Directory => "/sys/block/" + Name;

    /// <summary>Whether the device has a server, or waits for one: the kernel keeps it configured.</summary>
    public bool IsConfigured => File.Exists(Directory + "/pid");

    /// <summary>Whose it is: the identifier given when it was made; null if it has none, or the kernel does not keep them.</summary>
    public string? Identifier => Read("backend");

    /// <summary>Bytes of the device as the kernel knows it; 0 if that is not known.</summary>
    public long Size => long.TryParse(Read("size"), CultureInfo.InvariantCulture, out var sectors) ? sectors * 512 : 0;

    /// <summary>Connections that it was made with: a hardware queue each. 0 if that cannot be seen.</summary>
    public int Connections
    {
        get
        {
            try
            {
                return System.IO.Directory.GetDirectories(Directory + "/mq").Length;
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                return 0;
            }
        }
    }

    /// <summary>Takes "/dev/nbd3" apart.</summary>
    public static bool TryParse(string? path, out KernelNbdDevice device)
    {
        device = default;
        if (path is null || !path.StartsWith(NodePrefix, StringComparison.Ordinal)
            || !int.TryParse(path.AsSpan(NodePrefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var index))
        {
            return false;
        }

        device = new KernelNbdDevice(index);
        return true;
    }

    /// <summary>
    /// What tells our device from others, from one server to the next: its name and its image's path. Not the file behind
    /// the path: a resume may find another there.
    /// </summary>
    public static string IdentifierOf(string name, string imagePath)
    {
        ArgumentNullException.ThrowIfNull(imagePath);
        var image = Encoding.UTF8.GetByteCount(imagePath) <= LongestPath
            ? imagePath
            : Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(imagePath)));
        return $"qcow2blk:{name}:{image}";
    }

    private string? Read(string attribute)
    {
        try
        {
            var text = File.ReadAllText($"{Directory}/{attribute}").TrimEnd('\n');
            return text.Length == 0 ? null : text;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
