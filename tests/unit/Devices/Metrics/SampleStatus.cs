using System;
using System.Text;

namespace Qcow2Blk.Tests.Devices.Metrics;

/// <summary>What servers say of devices.</summary>
internal static class SampleStatus
{
    /// <summary>A device that has everything that docs/json.md lists.</summary>
    internal static ReadOnlyMemory<byte> Full { get; } = Encoding.UTF8.GetBytes("""
        {
          "name": "disk", "state": "running", "image": "/data/a \"quoted\" \\ name\nof two lines.qcow2",
          "uri": null, "device": "/dev/ublkb0", "pid": 4711, "started": "2026-11-29T12:00:00.5Z", "recoveries": 2, "supervisor": 4710,
          "geometry": { "size": 1073741824, "read-only": false, "version": 3, "cluster-size": 65536, "snapshots": 3, "file-bytes": 196608 },
          "chain": [ { "path": "/data/disk.qcow2" }, { "path": "/data/base.qcow2" } ],
          "bases": [ { "url": "https://images.example/base.qcow2", "state": "online", "length-bytes": 536870912, "chunk-size": 262144,
            "cached-bytes": 4194304, "waiting": 2, "hits": 70, "misses": 16, "hit-bytes": 286720, "fetched-bytes": 4194304, "fetches": 16,
            "shared-fetches": 0, "retries": 1, "bad-chunks": 3, "hedges": 5, "hedge-wins": 4,
            "fetch-p50-ns": 20000000, "fetch-p99-ns": 90000000 } ],
          "cache": { "l2-bytes": 1048576, "l2-hits": 900, "l2-misses": 100, "commits": 7 },
          "requests": { "connections": 2, "in-flight": 5, "waiting-for-space": 1, "waiting-for-limit": 4, "reads": 10, "writes": 6,
            "others": 1, "read-bytes": 40960, "written-bytes": 24576, "errors": 1,
            "read-time-ns": 15000, "write-time-ns": 9000, "other-time-ns": 500 },
          "latency": { "p50-ns": 1500, "p99-ns": 4000, "p999-ns": 4000,
            "histogram": { "le-ns": [1000, 2000, 4000, 1024000], "reads": [4, 5, 1, 0], "writes": [0, 6, 0, 0], "others": [1, 0, 0, 0] } },
          "limits": { "iops": 1000, "read-iops": 600, "write-iops": 500, "bandwidth": 10485760, "read-bandwidth": 8388608,
            "write-bandwidth": 4194304, "burst": 2 },
          "memory": { "resident-bytes": 20971520, "managed-bytes": 524288, "allocated-bytes": 1048576, "collections": 1 },
          "kernel": { "transport": "ublk", "queues": 1, "zero-copy-requests": 12, "reconnected": 3 }
        }
        """);

    /// <summary>What is known of a device without its server.</summary>
    internal static ReadOnlyMemory<byte> Dead { get; } = Encoding.UTF8.GetBytes("""
        { "name": "old", "state": "dead", "uri": null, "device": "/dev/ublkb1", "image": "/data/old.qcow2", "pid": 1,
          "started": "2026-11-29T11:00:00Z", "recoveries": 0 }
        """);
}
