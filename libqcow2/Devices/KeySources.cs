using System;
using System.Collections.Generic;
using System.IO;
using System.Text;
using Qcow2Blk.Buffers;
using Qcow2Blk.Devices.Options;
using Qcow2Blk.Devices.Outcomes;
using Qcow2Blk.Format;
using Qcow2Blk.Interop;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Devices;

/// <summary>Gets the keys that options name, each time that an image is opened: nothing keeps them in between but locked memory.</summary>
internal static class KeySources
{
    internal const string CredentialsVariable = "CREDENTIALS_DIRECTORY";

    private const int PieceBytes = 4096;

    /// <summary>
    /// Takes the key that can be had only once, from a descriptor or the terminal: what serves the image later has neither.
    /// </summary>
    /// <returns>the options with that key, which the caller disposes of when the server has it; the same options if there is none</returns>
    /// <exception cref="OutcomeException">it cannot be had, or was held by a server that is gone</exception>
    public static AttachOptions Collect(AttachOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.KeyFd is { } fd)
            return options with { HeldKey = Read(fd, $"descriptor {fd}"), KeyFd = null };
        if (options.KeyPrompt)
            return options with { HeldKey = KeyPrompt.Ask(options.Image), KeyPrompt = false };
        if (!options.KeyIsHeld || options.HeldKey is not null)
            return options;

        // Another one was given in its place.
        return options.HasKey ? options with { KeyIsHeld = false }
            : throw new OutcomeException(OutcomeKind.Failed, $"cannot attach {options.Image}",
                "its key was given by --key-fd or --key-prompt, and is gone with the server", "give it again, or with --key-file FILE");
    }

    /// <summary>All keys, in the order in which they are tried; the caller disposes of those that are not the held one.</summary>
    /// <exception cref="OutcomeException">one of them cannot be had</exception>
    public static List<SecretMemory> Read(AttachOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        var keys = new List<SecretMemory>();
        try
        {
            if (options.HeldKey is { } held)
                keys.Add(held);
            foreach (var file in options.KeyFiles)
                keys.Add(ReadFile(file, $"key file {file}"));
            foreach (var name in options.KeyCredentials)
                keys.Add(ReadCredential(name));
            foreach (var name in options.KeyVariables)
                keys.Add(ReadVariable(name));
            return keys;
        }
        catch
        {
            Dispose(keys, options);
            throw;
        }
    }

    /// <summary>Gives back what <see cref="Read(AttachOptions)"/> gave.</summary>
    public static void Dispose(IReadOnlyList<SecretMemory> keys, AttachOptions options)
    {
        foreach (var key in keys)
        {
            if (key != options.HeldKey)
                key.Dispose();
        }
    }

    private static SecretMemory ReadCredential(string name)
    {
        var directory = Environment.GetEnvironmentVariable(CredentialsVariable);
        return directory is { Length: > 0 } ? ReadFile(Path.Combine(directory, name), $"credential {name}")
            : throw Missing($"credential {name}", $"${CredentialsVariable} is not set: this is not a service with credentials",
                "set LoadCredential= in the unit, or use --key-file");
    }

    private static SecretMemory ReadVariable(string name)
    {
        if (Environment.GetEnvironmentVariable(name) is not { Length: > 0 } text)
            throw Missing($"the key in ${name}", "the variable is not set, or empty", null);
        var key = new SecretMemory(Encoding.UTF8.GetByteCount(text));
        Encoding.UTF8.GetBytes(text, key.Span);
        return key;
    }

    private static SecretMemory ReadFile(string path, string what)
    {
        var fd = Errno.Of(Fcntl.Open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0));
        if (fd < 0)
            throw Missing(what, Errno.Text(fd), null);
        try
        {
            return Read(fd, what);
        }
        finally
        {
            _ = Unistd.Close(fd);
        }
    }

    /// <summary>Reads to the end, into memory that grows as a secret does: the shorter one is wiped.</summary>
    private static SecretMemory Read(int fd, string what)
    {
        var key = new SecretMemory(PieceBytes);
        var length = 0;
        while (true)
        {
            if (length == key.Length)
            {
                var larger = new SecretMemory(key.Length * 2);
                key.Span.CopyTo(larger.Span);
                key.Dispose();
                key = larger;
            }

            var count = Unistd.Read(fd, key.Span[length..]);
            if (count > 0 && length + count <= Limits.MaxKeyBytes)
            {
                length += count;
                continue;
            }

            if (count != 0 || length == 0)
            {
                key.Dispose();
                throw Missing(what, count < 0 ? Errno.Text(count) : length == 0 ? "it is empty"
                    : $"a key has at most {Limits.MaxKeyBytes} bytes", null);
            }

            key.Shorten(length);
            return key;
        }
    }

    private static OutcomeException Missing(string what, string why, string? hint) =>
        new(OutcomeKind.Failed, $"cannot read {what}", why, hint);
}
