using System.Collections.Generic;

namespace Qcow2Blk.Devices.Options;

/// <summary>
/// Where the keys of encrypted images come from: part of <see cref="AttachOptionTable"/>. The key itself is in no option, so it is on
/// no command line and in no state file.
/// </summary>
internal static class KeyOptions
{
    internal const string HowToGive =
        "give its key with --key-file FILE, --key-credential NAME, --key-env NAME, --key-fd N or --key-prompt";

    internal static AttachOption[] All { get; } =
    [
        new AttachOption<IReadOnlyList<string>>(
            new FilesKind(), o => o.KeyFiles, (o, files) => o with { KeyFiles = files })
        {
            Name = "key-file",
            Member = "key-files",
            ValueName = "FILE",
            Help = "read the key of an encrypted image from FILE, all bytes of it; may be repeated",
            IsOfImage = true,
            IsOfRecovery = true,
        },
        new AttachOption<IReadOnlyList<string>>(
            new NamesKind(), o => o.KeyCredentials, (o, names) => o with { KeyCredentials = names })
        {
            Name = "key-credential",
            Member = "key-credentials",
            ValueName = "NAME",
            Help = "read the key from the systemd credential NAME of the service; may be repeated",
            IsOfImage = true,
            IsOfRecovery = true,
        },
        new AttachOption<IReadOnlyList<string>>(
            new NamesKind(), o => o.KeyVariables, (o, names) => o with { KeyVariables = names })
        {
            Name = "key-env",
            Member = "key-envs",
            ValueName = "NAME",
            Help = "read the key from the environment variable NAME; may be repeated",
            IsOfImage = true,
            IsOfRecovery = true,
        },
        new AttachOption<int?>(new WholeKind(0, int.MaxValue), o => o.KeyFd, (o, fd) => o with { KeyFd = fd })
        {
            Name = "key-fd",
            ValueName = "N",
            Help = "read the key from the open file descriptor N of this command, to its end",
            IsOfImage = true,
            IsOfRecovery = true,
            Life = OptionLife.Start,
        },
        new AttachOption<bool>(new FlagKind(), o => o.KeyPrompt, (o, on) => o with { KeyPrompt = on })
        {
            Name = "key-prompt",
            Help = "ask for the key on the terminal",
            IsOfImage = true,
            IsOfRecovery = true,
            Life = OptionLife.Start,
        },
    ];

    /// <summary>
    /// Tells the next process that a key comes with it, and whoever reads the state file that one is needed that nothing names.
    /// </summary>
    internal static AttachOption Held { get; } =
        new AttachOption<bool>(new FlagKind(), o => o.KeyIsHeld || o.HeldKey is not null, (o, on) => o with { KeyIsHeld = on })
        {
            Name = "key-held",
        };
}
