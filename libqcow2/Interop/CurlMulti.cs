using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using static Qcow2Blk.Interop.LibCurl;

namespace Qcow2Blk.Interop;

/// <summary>What drives a <see cref="CurlMulti"/>. It is told from within libcurl, and may call nothing of it there.</summary>
internal interface ICurlDriver
{
    /// <param name="socket">a descriptor</param>
    /// <param name="what">CURL_POLL_*: what to wait for from now on</param>
    void Watch(int socket, int what);

    /// <param name="milliseconds">after how long to call <see cref="CurlMulti.Act"/> with CURL_SOCKET_TIMEOUT; -1 for not at all</param>
    void SetTimer(long milliseconds);
}

/// <summary>Many transfers of libcurl on one thread that waits for their sockets itself, and their connections.</summary>
internal sealed unsafe class CurlMulti : IDisposable
{
    private readonly Dictionary<nint, CurlEasy> _transfers = [];
    private readonly ICurlDriver _driver;
    private nint _handle;
    private GCHandle _self;

    private CurlMulti(nint handle, ICurlDriver driver)
    {
        _handle = handle;
        _driver = driver;
        _self = GCHandle.Alloc(this);
        SetMultiOption(handle, CURLMOPT_SOCKETFUNCTION, (nint)(delegate* unmanaged<nint, int, int, nint, nint, int>)&OnSocket);
        SetMultiOption(handle, CURLMOPT_SOCKETDATA, GCHandle.ToIntPtr(_self));
        SetMultiOption(handle, CURLMOPT_TIMERFUNCTION, (nint)(delegate* unmanaged<nint, long, nint, int>)&OnTimer);
        SetMultiOption(handle, CURLMOPT_TIMERDATA, GCHandle.ToIntPtr(_self));
    }

    /// <param name="driver">told what to wait for</param>
    /// <param name="connections">how many are kept open for the next transfer</param>
    /// <returns>null if there is no memory</returns>
    public static CurlMulti? Create(ICurlDriver driver, int connections)
    {
        var handle = NewMulti();
        if (handle == 0)
            return null;
        SetMultiOption(handle, CURLMOPT_MAXCONNECTS, connections);
        return new CurlMulti(handle, driver);
    }

    /// <summary>Starts a transfer.</summary>
    /// <returns>CURLM_OK, or why not</returns>
    public int Add(CurlEasy transfer)
    {
        ArgumentNullException.ThrowIfNull(transfer);
        var result = LibCurl.Add(_handle, transfer.Handle);
        if (result == CURLM_OK)
            _transfers[transfer.Handle] = transfer;
        return result;
    }

    /// <summary>Takes a transfer out, whether it has ended or not: it is told nothing more.</summary>
    public void Remove(CurlEasy transfer)
    {
        ArgumentNullException.ThrowIfNull(transfer);
        if (_transfers.Remove(transfer.Handle))
            LibCurl.Remove(_handle, transfer.Handle);
    }

    /// <summary>Goes on with what a socket, or the time, lets go on.</summary>
    /// <param name="socket">the one that is ready; CURL_SOCKET_TIMEOUT for the time</param>
    /// <param name="events">CURL_CSELECT_*</param>
    public int Act(int socket, int events) => SocketAction(_handle, socket, events);

    /// <summary>Takes out a transfer that has ended.</summary>
    /// <param name="transfer">which</param>
    /// <param name="code">CURLE_*: how</param>
    public bool TryTakeEnded(out CurlEasy? transfer, out int code)
    {
        (transfer, code) = (null, CURLE_OK);
        while (_handle != 0 && ReadInfo(_handle) is var message && message != null)
        {
            if (message->msg != CURLMSG_DONE || !_transfers.TryGetValue(message->easy_handle, out transfer))
                continue;
            code = message->result; // The message is gone with the transfer.
            Remove(transfer);
            return true;
        }

        return false;
    }

    /// <summary>Closes the connections. No transfer may be left.</summary>
    public void Dispose()
    {
        if (_handle == 0)
            return;
        FreeMulti(_handle);
        _handle = 0;
        _self.Free();
    }

    [UnmanagedCallersOnly]
    private static int OnSocket(nint easy, int socket, int what, nint self, nint unused)
    {
        ((CurlMulti)GCHandle.FromIntPtr(self).Target!)._driver.Watch(socket, what);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int OnTimer(nint multi, long milliseconds, nint self)
    {
        ((CurlMulti)GCHandle.FromIntPtr(self).Target!)._driver.SetTimer(milliseconds);
        return 0;
    }
}
