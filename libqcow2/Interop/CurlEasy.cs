using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using static Qcow2Blk.Interop.LibCurl;

namespace Qcow2Blk.Interop;

/// <summary>What a transfer is told while it goes on. Nothing of libcurl may be called from here.</summary>
internal interface ICurlReceiver
{
    /// <summary>A line of the answer's header, with its end; the status line first, an empty one last.</summary>
    /// <returns>whether to go on</returns>
    bool TakeHeader(ReadOnlySpan<byte> line);

    /// <summary>A piece of the answer's body.</summary>
    /// <returns>whether to go on</returns>
    bool TakeBody(ReadOnlySpan<byte> bytes);
}

/// <summary>One transfer of libcurl at a time: its options, and what it is told. Of one thread.</summary>
internal sealed unsafe class CurlEasy : IDisposable
{
    private readonly ICurlReceiver _receiver;
    private readonly byte* _error;
    private GCHandle _self;
    private nint _headers;
    private int _firstFailure;

    private CurlEasy(nint handle, ICurlReceiver receiver)
    {
        Handle = handle;
        _receiver = receiver;
        _self = GCHandle.Alloc(this);
        _error = (byte*)NativeMemory.AllocZeroed(CURL_ERROR_SIZE);
        Set(CURLOPT_ERRORBUFFER, (nint)_error);
        Set(CURLOPT_WRITEFUNCTION, (nint)(delegate* unmanaged<byte*, nuint, nuint, nint, nuint>)&OnBody);
        Set(CURLOPT_HEADERFUNCTION, (nint)(delegate* unmanaged<byte*, nuint, nuint, nint, nuint>)&OnHeader);
        Set(CURLOPT_WRITEDATA, GCHandle.ToIntPtr(_self));
        Set(CURLOPT_HEADERDATA, GCHandle.ToIntPtr(_self));
    }

    internal nint Handle { get; private set; }

    /// <summary>What the receiver threw, which is a bug; the transfer was ended.</summary>
    public Exception? Failure { get; private set; }

    /// <returns>null if there is no memory</returns>
    public static CurlEasy? Create(ICurlReceiver receiver)
    {
        var handle = NewEasy();
        return handle == 0 ? null : new CurlEasy(handle, receiver);
    }

    /// <summary>Sets an option that is a number or an address.</summary>
    public int Set(int option, nint value) => Note(SetOption(Handle, option, value));

    /// <summary>Sets an option that is a text; libcurl makes a copy.</summary>
    public int Set(int option, string value) => Note(Try(option, value));

    /// <summary>As <see cref="Set(int, string)"/>, for an option that older libraries may not have.</summary>
    public int Try(int option, string value)
    {
        using var text = new CString(value, stackalloc byte[CString.Room]);
        return SetOption(Handle, option, (nint)(byte*)text);
    }

    /// <summary>The first error that setting an option had since this was last called; CURLE_OK for none.</summary>
    public int TakeOptionFailure()
    {
        var failure = _firstFailure;
        _firstFailure = CURLE_OK;
        return failure;
    }

    /// <summary>Begins another request, with no headers but libcurl's own.</summary>
    public void ClearHeaders()
    {
        Failure = null;
        *_error = 0;
        Set(CURLOPT_HTTPHEADER, 0);
        if (_headers != 0)
            FreeList(_headers);
        _headers = 0;
    }

    /// <summary>Adds a header to the next request, as "Name: value".</summary>
    public void AddHeader(string line)
    {
        using var text = new CString(line, stackalloc byte[CString.Room]);
        var longer = Append(_headers, text);
        if (longer == 0)
        {
            Note(CURLE_OUT_OF_MEMORY);
            return;
        }

        _headers = longer;
        Set(CURLOPT_HTTPHEADER, _headers);
    }

    /// <summary>What libcurl says of the last failure.</summary>
    public string ErrorText(int code) => *_error == 0 ? Text(code) : Marshal.PtrToStringUTF8((nint)_error)!;

    /// <summary>Where the answer says that the object is, as a whole URL; null if it does not.</summary>
    public string? RedirectUrl()
    {
        byte* text = null;
        return GetInfo(Handle, CURLINFO_REDIRECT_URL, &text) == CURLE_OK && text != null ? Marshal.PtrToStringUTF8((nint)text) : null;
    }

    /// <summary>Microseconds from the start to the sending of the request; 0 if it was not sent yet.</summary>
    public long SentAfter()
    {
        long time = 0;
        return GetInfo(Handle, CURLINFO_PRETRANSFER_TIME_T, &time) == CURLE_OK ? time : 0;
    }

    /// <summary>Not while it is in a multi handle.</summary>
    public void Dispose()
    {
        if (Handle == 0)
            return;
        FreeEasy(Handle);
        Handle = 0;
        if (_headers != 0)
            FreeList(_headers);
        NativeMemory.Free(_error);
        _self.Free();
    }

    private int Note(int result)
    {
        if (_firstFailure == CURLE_OK)
            _firstFailure = result;
        return result;
    }

    [UnmanagedCallersOnly]
    private static nuint OnHeader(byte* bytes, nuint size, nuint count, nint self) => Deliver(bytes, size * count, self, isHeader: true);

    [UnmanagedCallersOnly]
    private static nuint OnBody(byte* bytes, nuint size, nuint count, nint self) => Deliver(bytes, size * count, self, isHeader: false);

    /// <returns>the length to go on, another number to end the transfer</returns>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static nuint Deliver(byte* bytes, nuint length, nint self, bool isHeader)
    {
        var easy = (CurlEasy)GCHandle.FromIntPtr(self).Target!;
        try
        {
            var piece = new ReadOnlySpan<byte>(bytes, checked((int)length));
            if (isHeader ? easy._receiver.TakeHeader(piece) : easy._receiver.TakeBody(piece))
                return length;
        }
        catch (Exception error)
        {
            // C code stands between here and who could catch it.
            easy.Failure = error;
        }

        return length == 0 ? 1u : 0u;
    }
}
