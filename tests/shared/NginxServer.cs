using System;
using System.Diagnostics;
using System.Globalization;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Sockets;
using System.Threading;

namespace Qcow2Blk.Tests.Shared;

/// <summary>An nginx of its own, on a port of its own, that serves a directory; with TLS if it is given a certificate.</summary>
internal sealed class NginxServer : IDisposable
{
    private static readonly string[] s_places = ["/usr/sbin/nginx", "/usr/bin/nginx", "/sbin/nginx"];

    private readonly Process _process;
    private readonly string _directory;

    /// <param name="root">what it serves</param>
    /// <param name="certificate">of the server, PEM; null for http</param>
    /// <param name="key">of the certificate</param>
    /// <param name="extra">more lines of the server's block</param>
    /// <param name="port">where it listens; null for a free one</param>
    public NginxServer(string root, string? certificate = null, string? key = null, string extra = "", int? port = null)
    {
        _directory = Directory.CreateTempSubdirectory("qcow2blk-nginx-").FullName;
        Port = port ?? FreePort();
        IsTls = certificate is not null;
        var tls = certificate is null ? "" : $"ssl_certificate {certificate}; ssl_certificate_key {key};";
        var temporary = string.Concat(((string[])["client_body", "proxy", "fastcgi", "uwsgi", "scgi"])
            .Select(name => $"{name}_temp_path {_directory}/{name};\n"));
        File.WriteAllText(Path.Combine(_directory, "nginx.conf"), $$"""
            daemon off; master_process off; worker_processes 1; pid {{_directory}}/pid; error_log {{_directory}}/error.log;
            events { worker_connections 1024; }
            http {
            {{temporary}} access_log {{_directory}}/access.log; keepalive_requests 100000; sendfile on; etag on;
            server {
              listen 127.0.0.1:{{Port}} {{(IsTls ? "ssl http2" : "")}}; root {{root}}; {{tls}}
              {{extra}}
            } }
            """);
        var start = new ProcessStartInfo(Program!, ["-p", _directory, "-c", Path.Combine(_directory, "nginx.conf")])
        {
            RedirectStandardError = true,
        };
        _process = Process.Start(start)!;
        _process.ErrorDataReceived += (_, _) => { };
        _process.BeginErrorReadLine();
        WaitUntilItListens();
    }

    /// <summary>Where nginx is; null if it is not installed.</summary>
    public static string? Program => s_places.FirstOrDefault(File.Exists);

    public int Port { get; }

    public bool IsTls { get; }

    public string Url(string path) =>
        string.Create(CultureInfo.InvariantCulture, $"{(IsTls ? "https" : "http")}://127.0.0.1:{Port}/{path}");

    /// <summary>A line for each request so far.</summary>
    public string[] Requests => File.ReadAllLines(Path.Combine(_directory, "access.log"));

    /// <summary>Ends it: nobody listens there any more.</summary>
    public void Stop()
    {
        _process.Kill();
        _process.WaitForExit();
    }

    public void Dispose()
    {
        Stop();
        _process.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private static int FreePort()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)listener.LocalEndPoint!).Port;
    }

    private void WaitUntilItListens()
    {
        var patience = Stopwatch.StartNew();
        while (true)
        {
            using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            try
            {
                probe.Connect(IPAddress.Loopback, Port);
                return;
            }
            catch (SocketException) when (patience.Elapsed < TimeSpan.FromSeconds(10) && !_process.HasExited)
            {
                Thread.Sleep(10);
            }
        }
    }
}
