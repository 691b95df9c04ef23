using System;
using System.Runtime.InteropServices;
using System.Threading;

namespace Qcow2Blk.Interop;

/// <summary>
/// What we use of OpenSSL's libcrypto, as <c>openssl/evp.h</c> and <c>openssl/rand.h</c> declare it. The library is opened when the
/// first encrypted image is, and never before: who has none does not need it.
/// </summary>
internal static unsafe class LibCrypto
{
    /// <summary>The libraries that have these functions, the newest first.</summary>
    internal static readonly string[] Names = ["libcrypto.so.3", "libcrypto.so.1.1"];

    private static readonly Lock s_gate = new();
    private static bool s_isLoaded;
    private static delegate* unmanaged<nint> s_newContext;
    private static delegate* unmanaged<nint, void> s_freeContext;
    private static delegate* unmanaged<nint, int, int> s_setPadding;
    private static delegate* unmanaged<nint, nint, nint, byte*, byte*, int, int> s_init;

    // A sector takes a tenth of a microsecond in each of these two: the garbage collector can wait for that, and the way there and back
    // would be a good part of it.
    private static delegate* unmanaged[SuppressGCTransition]<nint, nint, nint, byte*, byte*, int, int> s_setVector;
    private static delegate* unmanaged[SuppressGCTransition]<nint, byte*, int*, byte*, int, int> s_update;

    private static delegate* unmanaged<byte*, nint> s_cipherByName;
    private static delegate* unmanaged<byte*, nint> s_digestByName;
    private static delegate* unmanaged<byte*, nuint, byte*, uint*, nint, nint, int> s_digest;
    private static delegate* unmanaged<byte*, int, byte*, int, int, nint, int, byte*, int> s_pbkdf2;
    private static delegate* unmanaged<byte*, int, int> s_random;

    /// <summary>Opens the library, once.</summary>
    /// <returns>null, or why it cannot be used</returns>
    public static string? Load() => Load(Names);

    /// <summary>As the other, from libraries of these names, unless one was opened before.</summary>
    internal static string? Load(ReadOnlySpan<string> names)
    {
        lock (s_gate)
        {
            if (s_isLoaded)
                return null;
            if (Open(names, out var library) is { } failure)
                return failure;
            try
            {
                Bind(library);
            }
            catch (EntryPointNotFoundException missing)
            {
                return missing.Message;
            }

            Volatile.Write(ref s_isLoaded, true);
            return null;
        }
    }

    /// <summary>Opens the first of the libraries that is there.</summary>
    /// <returns>null, or that none is</returns>
    internal static string? Open(ReadOnlySpan<string> names, out nint library)
    {
        foreach (var name in names)
        {
            if (NativeLibrary.TryLoad(name, out library))
                return null;
        }

        library = 0;
        return $"cannot load {string.Join(" or ", names)}";
    }

    /// <summary>A cipher context without a key; 0 if there is no memory.</summary>
    public static nint NewContext() => s_newContext();

    /// <summary>Wipes and frees it.</summary>
    public static void FreeContext(nint context) => s_freeContext(context);

    /// <summary>A cipher such as "aes-256-xts"; 0 if the library has none of that name.</summary>
    public static nint Cipher(ReadOnlySpan<byte> name)
    {
        fixed (byte* text = name)
            return s_cipherByName(text);
    }

    /// <summary>A digest such as "sha256"; 0 if the library has none of that name.</summary>
    public static nint Digest(ReadOnlySpan<byte> name)
    {
        fixed (byte* text = name)
            return s_digestByName(text);
    }

    /// <summary>Gives a context its cipher, key and direction; there is no padding, and a vector comes with each sector.</summary>
    /// <param name="context">a new one</param>
    /// <param name="cipher">its cipher</param>
    /// <param name="key">as long as the cipher's</param>
    /// <param name="encrypt">or decrypt</param>
    /// <param name="pads">
    /// whether the cipher is one that pads unless it is told not to; OpenSSL 3 would tell it again with every vector
    /// </param>
    public static bool SetKey(nint context, nint cipher, ReadOnlySpan<byte> key, bool encrypt, bool pads)
    {
        fixed (byte* bytes = key)
            return s_init(context, cipher, 0, bytes, null, encrypt ? 1 : 0) == 1 && (!pads || s_setPadding(context, 0) == 1);
    }

    /// <summary>Encrypts or decrypts, as the context was made for, one run of whole blocks with a vector of its own.</summary>
    /// <param name="context">with a key</param>
    /// <param name="vector">16 bytes; null for a cipher that has none</param>
    /// <param name="from">what is read</param>
    /// <param name="to">where the result goes</param>
    /// <param name="length">bytes, a few sectors at most: the garbage collector waits</param>
    public static bool Run(nint context, byte* vector, byte* from, byte* to, int length)
    {
        int written;
        return (vector is null || s_setVector(context, 0, 0, null, vector, -1) == 1)
            && s_update(context, to, &written, from, length) == 1 && written == length;
    }

    /// <param name="result">as many bytes as the digest has</param>
    public static bool Hash(nint digest, ReadOnlySpan<byte> data, Span<byte> result)
    {
        uint written;
        fixed (byte* from = data)
        fixed (byte* to = result)
            return s_digest(from, (nuint)data.Length, to, &written, digest, 0) == 1 && written == result.Length;
    }

    /// <summary>PBKDF2 with HMAC.</summary>
    public static bool DeriveKey(nint digest, ReadOnlySpan<byte> passphrase, ReadOnlySpan<byte> salt, int iterations, Span<byte> key)
    {
        // No passphrase is one of no bytes; the address must not be null, which the library takes for "measure it".
        byte none = 0;
        fixed (byte* text = passphrase)
        fixed (byte* with = salt)
        fixed (byte* to = key)
        {
            return s_pbkdf2(text is null ? &none : text, passphrase.Length, with, salt.Length, iterations, digest, key.Length, to) == 1;
        }
    }

    /// <summary>Fills with random bytes that are good enough for keys.</summary>
    public static bool Random(Span<byte> bytes)
    {
        fixed (byte* to = bytes)
            return s_random(to, bytes.Length) == 1;
    }

    private static void Bind(nint library)
    {
        s_newContext = (delegate* unmanaged<nint>)NativeLibrary.GetExport(library, "EVP_CIPHER_CTX_new");
        s_freeContext = (delegate* unmanaged<nint, void>)NativeLibrary.GetExport(library, "EVP_CIPHER_CTX_free");
        s_setPadding = (delegate* unmanaged<nint, int, int>)NativeLibrary.GetExport(library, "EVP_CIPHER_CTX_set_padding");
        var init = NativeLibrary.GetExport(library, "EVP_CipherInit_ex");
        s_init = (delegate* unmanaged<nint, nint, nint, byte*, byte*, int, int>)init;
        s_setVector = (delegate* unmanaged[SuppressGCTransition]<nint, nint, nint, byte*, byte*, int, int>)init;
        s_update = (delegate* unmanaged[SuppressGCTransition]<nint, byte*, int*, byte*, int, int>)
            NativeLibrary.GetExport(library, "EVP_CipherUpdate");
        s_cipherByName = (delegate* unmanaged<byte*, nint>)NativeLibrary.GetExport(library, "EVP_get_cipherbyname");
        s_digestByName = (delegate* unmanaged<byte*, nint>)NativeLibrary.GetExport(library, "EVP_get_digestbyname");
        s_digest = (delegate* unmanaged<byte*, nuint, byte*, uint*, nint, nint, int>)NativeLibrary.GetExport(library, "EVP_Digest");
        s_pbkdf2 = (delegate* unmanaged<byte*, int, byte*, int, int, nint, int, byte*, int>)
            NativeLibrary.GetExport(library, "PKCS5_PBKDF2_HMAC");
        s_random = (delegate* unmanaged<byte*, int, int>)NativeLibrary.GetExport(library, "RAND_bytes");
    }
}
