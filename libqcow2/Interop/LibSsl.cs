using System;
using System.Runtime.InteropServices;
using System.Text;
using System.Threading;

namespace Qcow2Blk.Interop;

/// <summary>What a call of TLS needs to go on.</summary>
internal enum TlsNeed
{
    /// <summary>Nothing: it is done.</summary>
    Nothing,

    /// <summary>More bytes of the peer.</summary>
    Input,

    /// <summary>The peer has ended the session.</summary>
    Closed,

    /// <summary>It failed for good.</summary>
    Failed,
}

/// <summary>
/// What we use of OpenSSL's libssl, as <c>openssl/ssl.h</c>, <c>bio.h</c> and <c>err.h</c> declare it: the client's side, over bytes
/// that others move. The library is opened when it is needed first, and never before.
/// </summary>
internal static unsafe class LibSsl
{
    private const int SSL_VERIFY_PEER = 1, SSL_CTRL_SET_MIN_PROTO_VERSION = 123, SSL_CTRL_SET_TLSEXT_HOSTNAME = 55;
    private const int SSL_FILETYPE_PEM = 1, TLS1_2_VERSION = 0x0303, SSL_ERROR_WANT_READ = 2, SSL_ERROR_ZERO_RETURN = 6;

    private static readonly (string Ssl, string Crypto)[] s_names =
        [("libssl.so.3", "libcrypto.so.3"), ("libssl.so.1.1", "libcrypto.so.1.1")];

    private static readonly Lock s_gate = new();
    private static bool s_isLoaded;
    private static delegate* unmanaged<nint> s_method;
    private static delegate* unmanaged<nint, nint> s_newContext;
    private static delegate* unmanaged<nint, void> s_freeContext;
    private static delegate* unmanaged<nint, int, long, nint, long> s_contextControl;
    private static delegate* unmanaged<nint, int, nint, void> s_setVerify;
    private static delegate* unmanaged<nint, int> s_systemAuthorities;
    private static delegate* unmanaged<nint, byte*, byte*, int> s_authorities;
    private static delegate* unmanaged<nint, byte*, int> s_certificates;
    private static delegate* unmanaged<nint, byte*, int, int> s_key;
    private static delegate* unmanaged<nint, delegate* unmanaged<byte*, int, int, void*, int>, void> s_setPassphrase;
    private static delegate* unmanaged<nint, nint> s_new;
    private static delegate* unmanaged<nint, void> s_free;
    private static delegate* unmanaged<nint, nint, nint, void> s_setBio;
    private static delegate* unmanaged<nint, int, long, byte*, long> s_control;
    private static delegate* unmanaged<nint, byte*, int> s_setHost;
    private static delegate* unmanaged<nint, nint> s_parameters;
    private static delegate* unmanaged<nint, byte*, int> s_setAddress;
    private static delegate* unmanaged<nint, void> s_connectState;
    private static delegate* unmanaged<nint, int> s_handshake;
    private static delegate* unmanaged<nint, byte*, int, int> s_read;
    private static delegate* unmanaged<nint, byte*, int, int> s_write;
    private static delegate* unmanaged<nint, int, int> s_error;
    private static delegate* unmanaged<nint, long> s_verifyResult;
    private static delegate* unmanaged<nint> s_memory;
    private static delegate* unmanaged<nint, nint> s_newBio;
    private static delegate* unmanaged<nint, int> s_freeBio;
    private static delegate* unmanaged<nint, byte*, int, int> s_bioRead;
    private static delegate* unmanaged<nint, byte*, int, int> s_bioWrite;
    private static delegate* unmanaged<ulong> s_lastError;
    private static delegate* unmanaged<void> s_clearErrors;
    private static delegate* unmanaged<ulong, byte*> s_reason;
    private static delegate* unmanaged<long, byte*> s_verifyText;

    /// <summary>Opens the library, once.</summary>
    /// <returns>null, or why it cannot be used</returns>
    public static string? Load()
    {
        lock (s_gate)
        {
            if (s_isLoaded)
                return null;
            foreach (var (ssl, crypto) in s_names)
            {
                // The pair: libssl of one version has pointers of its own libcrypto.
                if (!NativeLibrary.TryLoad(ssl, out var library) || !NativeLibrary.TryLoad(crypto, out var other))
                    continue;
                try
                {
                    BindSsl(library);
                    BindCrypto(other);
                }
                catch (EntryPointNotFoundException missing)
                {
                    return missing.Message;
                }

                s_isLoaded = true;
                return null;
            }
        }

        return $"cannot load {s_names[0].Ssl} or {s_names[1].Ssl}";
    }

    /// <summary>What the sessions of a client share: TLS 1.2 at least, and whom it trusts.</summary>
    /// <param name="authorities">a file of certificates (PEM); null for those of the system</param>
    /// <param name="context">the context</param>
    /// <returns>null, or why there is none</returns>
    public static string? NewContext(string? authorities, out nint context)
    {
        context = s_newContext(s_method());
        if (context == 0)
            return LastError("no TLS context");
        s_clearErrors();
        if (s_contextControl(context, SSL_CTRL_SET_MIN_PROTO_VERSION, TLS1_2_VERSION, 0) == 1 && Trust(context, authorities))
        {
            s_setVerify(context, SSL_VERIFY_PEER, 0);
            return null;
        }

        var why = LastError("it holds no certificate");
        FreeContext(ref context);
        return why;
    }

    /// <summary>Gives a context what its clients show who they are with.</summary>
    /// <param name="context">of the sessions to come</param>
    /// <param name="certificates">a file: the client's, then those above it</param>
    /// <param name="key">a file: the key of the first, without a passphrase</param>
    /// <param name="isKey">whether what is wrong is wrong with the key</param>
    /// <returns>null, or what is wrong</returns>
    public static string? SetIdentity(nint context, string certificates, string key, out bool isKey)
    {
        isKey = false;
        s_clearErrors();

        // Without one of ours, the library would ask for a passphrase on the terminal, and wait.
        s_setPassphrase(context, &NoPassphrase);
        using var certificatesPath = new CString(certificates, stackalloc byte[CString.Room]);
        if (s_certificates(context, certificatesPath) != 1)
            return LastError("it holds no certificate");
        isKey = true;

        // It is compared with the certificate, too.
        using var keyPath = new CString(key, stackalloc byte[CString.Room]);
        return s_key(context, keyPath, SSL_FILETYPE_PEM) == 1 ? null : LastError("it holds no key");
    }

    public static void FreeContext(ref nint context)
    {
        if (context != 0)
            s_freeContext(context);
        context = 0;
    }

    /// <summary>A session of a client over two memories of bytes.</summary>
    /// <param name="context">whom it trusts</param>
    /// <param name="host">the name or address that the certificate has to be for</param>
    /// <param name="isAddress">whether it is an address</param>
    /// <param name="input">where the bytes of the peer go (<see cref="Put"/>)</param>
    /// <param name="output">where bytes for the peer come from (<see cref="Take"/>)</param>
    /// <returns>the session, which owns both; 0 if there is no memory, or no certificate can be for such a host</returns>
    public static nint NewSession(nint context, string host, bool isAddress, out nint input, out nint output)
    {
        (input, output) = (s_newBio(s_memory()), s_newBio(s_memory()));
        var session = input == 0 || output == 0 ? 0 : s_new(context);
        if (session == 0)
        {
            s_freeBio(input);
            s_freeBio(output);
            return 0;
        }

        s_setBio(session, input, output);
        using var name = new CString(host, stackalloc byte[CString.Room]);
        var done = isAddress
            ? s_setAddress(s_parameters(session), name) == 1
            : s_setHost(session, name) == 1 && s_control(session, SSL_CTRL_SET_TLSEXT_HOSTNAME, 0, name) == 1;
        if (done)
        {
            s_connectState(session);
            return session;
        }

        s_free(session);
        return 0;
    }

    public static void FreeSession(nint session) => s_free(session);

    /// <summary>Goes on with the handshake.</summary>
    public static TlsNeed Handshake(nint session)
    {
        s_clearErrors();
        return NeedOf(session, s_handshake(session));
    }

    /// <summary>Decrypts what has come.</summary>
    public static TlsNeed Read(nint session, Span<byte> target, out int bytes)
    {
        s_clearErrors();
        fixed (byte* start = target)
            bytes = s_read(session, start, target.Length);
        var need = NeedOf(session, bytes);
        bytes = Math.Max(bytes, 0);
        return need;
    }

    /// <summary>Encrypts all of it.</summary>
    public static bool Write(nint session, ReadOnlySpan<byte> source)
    {
        s_clearErrors();
        fixed (byte* start = source)
            return s_write(session, start, source.Length) == source.Length;
    }

    /// <summary>Bytes that came from the peer.</summary>
    public static bool Put(nint input, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* start = bytes)
            return s_bioWrite(input, start, bytes.Length) == bytes.Length;
    }

    /// <summary>Bytes that have to go to the peer.</summary>
    /// <returns>how many; 0 if there are none</returns>
    public static int Take(nint output, Span<byte> target)
    {
        fixed (byte* start = target)
            return Math.Max(0, s_bioRead(output, start, target.Length));
    }

    /// <summary>Why the last call failed, in OpenSSL's words.</summary>
    public static string WhyFailed(nint session)
    {
        var verdict = s_verifyResult(session);
        return verdict == 0 ? LastError("the session was broken off") : $"its certificate: {TextOf(s_verifyText(verdict))}";
    }

    /// <summary>Whether what failed is that the peer is not who it has to be.</summary>
    public static bool IsUntrusted(nint session) => s_verifyResult(session) != 0;

    [UnmanagedCallersOnly]
    private static int NoPassphrase(byte* target, int room, int forWriting, void* data) => 0;

    private static bool Trust(nint context, string? authorities)
    {
        if (authorities is null)
            return s_systemAuthorities(context) == 1;
        using var path = new CString(authorities, stackalloc byte[CString.Room]);
        return s_authorities(context, path, null) == 1;
    }

    private static TlsNeed NeedOf(nint session, int result) => result > 0 ? TlsNeed.Nothing : s_error(session, result) switch
    {
        SSL_ERROR_WANT_READ => TlsNeed.Input,
        SSL_ERROR_ZERO_RETURN => TlsNeed.Closed,
        _ => TlsNeed.Failed,
    };

    private static string LastError(string otherwise)
    {
        var error = s_lastError();
        return error == 0 ? otherwise : TextOf(s_reason(error));
    }

    private static string TextOf(byte* text) =>
        text is null ? "unknown error" : Encoding.UTF8.GetString(MemoryMarshal.CreateReadOnlySpanFromNullTerminated(text));

    private static nint Export(nint library, string name) => NativeLibrary.GetExport(library, name);

    private static void BindSsl(nint library)
    {
        s_method = (delegate* unmanaged<nint>)Export(library, "TLS_client_method");
        s_newContext = (delegate* unmanaged<nint, nint>)Export(library, "SSL_CTX_new");
        s_freeContext = (delegate* unmanaged<nint, void>)Export(library, "SSL_CTX_free");
        s_contextControl = (delegate* unmanaged<nint, int, long, nint, long>)Export(library, "SSL_CTX_ctrl");
        s_setVerify = (delegate* unmanaged<nint, int, nint, void>)Export(library, "SSL_CTX_set_verify");
        s_systemAuthorities = (delegate* unmanaged<nint, int>)Export(library, "SSL_CTX_set_default_verify_paths");
        s_authorities = (delegate* unmanaged<nint, byte*, byte*, int>)Export(library, "SSL_CTX_load_verify_locations");
        s_certificates = (delegate* unmanaged<nint, byte*, int>)Export(library, "SSL_CTX_use_certificate_chain_file");
        s_key = (delegate* unmanaged<nint, byte*, int, int>)Export(library, "SSL_CTX_use_PrivateKey_file");
        s_setPassphrase = (delegate* unmanaged<nint, delegate* unmanaged<byte*, int, int, void*, int>, void>)Export(
            library, "SSL_CTX_set_default_passwd_cb");
        s_new = (delegate* unmanaged<nint, nint>)Export(library, "SSL_new");
        s_free = (delegate* unmanaged<nint, void>)Export(library, "SSL_free");
        s_setBio = (delegate* unmanaged<nint, nint, nint, void>)Export(library, "SSL_set_bio");
        s_control = (delegate* unmanaged<nint, int, long, byte*, long>)Export(library, "SSL_ctrl");
        s_setHost = (delegate* unmanaged<nint, byte*, int>)Export(library, "SSL_set1_host");
        s_parameters = (delegate* unmanaged<nint, nint>)Export(library, "SSL_get0_param");
        s_connectState = (delegate* unmanaged<nint, void>)Export(library, "SSL_set_connect_state");
        s_handshake = (delegate* unmanaged<nint, int>)Export(library, "SSL_do_handshake");
        s_read = (delegate* unmanaged<nint, byte*, int, int>)Export(library, "SSL_read");
        s_write = (delegate* unmanaged<nint, byte*, int, int>)Export(library, "SSL_write");
        s_error = (delegate* unmanaged<nint, int, int>)Export(library, "SSL_get_error");
        s_verifyResult = (delegate* unmanaged<nint, long>)Export(library, "SSL_get_verify_result");
    }

    private static void BindCrypto(nint library)
    {
        s_setAddress = (delegate* unmanaged<nint, byte*, int>)Export(library, "X509_VERIFY_PARAM_set1_ip_asc");
        s_memory = (delegate* unmanaged<nint>)Export(library, "BIO_s_mem");
        s_newBio = (delegate* unmanaged<nint, nint>)Export(library, "BIO_new");
        s_freeBio = (delegate* unmanaged<nint, int>)Export(library, "BIO_free");
        s_bioRead = (delegate* unmanaged<nint, byte*, int, int>)Export(library, "BIO_read");
        s_bioWrite = (delegate* unmanaged<nint, byte*, int, int>)Export(library, "BIO_write");
        s_lastError = (delegate* unmanaged<ulong>)Export(library, "ERR_get_error");
        s_clearErrors = (delegate* unmanaged<void>)Export(library, "ERR_clear_error");
        s_reason = (delegate* unmanaged<ulong, byte*>)Export(library, "ERR_reason_error_string");
        s_verifyText = (delegate* unmanaged<long, byte*>)Export(library, "X509_verify_cert_error_string");
    }
}
