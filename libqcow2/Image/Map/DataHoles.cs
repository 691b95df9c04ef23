using System;
using Qcow2Blk.Format;
using Qcow2Blk.Storage;

namespace Qcow2Blk.Image.Map;

/// <summary>
/// Data clusters that lie in holes of the file: allocated, never written, so they read as zeroes (preallocation=metadata).
/// Asked anew for each request: the answer that a range is a hole is true only until the next write is acknowledged.
/// </summary>
internal readonly struct DataHoles(IBlockStorage file, Geometry geometry)
{
    /// <summary>
    /// Questions to the file for one extent of an answer. A question is a system call of a microsecond or two on the home
    /// loop, where all other requests wait meanwhile; who wants more asks again.
    /// </summary>
    public const int MaximumSeeks = 64;

    /// <summary>Whether the file is worth asking: decided when the image is opened, as by qemu.</summary>
    public bool AreExpected { get; } = Preallocation.LeavesHoles(file.Length, file.AllocatedBytes, geometry.ClusterSize);

    public Run Begin() => new(file);

    /// <summary>Pieces of the file that follow each other on the disk, and whether they are all holes or all data.</summary>
    public struct Run(IBlockStorage file)
    {
        // The last answer is good for all pieces of this run: nothing is awaited between them.
        private long _start;
        private FileRange _last;
        private bool _any;

        /// <summary>What the pieces so far are.</summary>
        public bool IsHole { get; private set; }

        public int Seeks { get; private set; }

        /// <returns>how many bytes of the piece go on with what the run is; less than it has: the run ends there</returns>
        public long Add(HostOffset host, long length)
        {
            var done = 0L;
            while (done < length)
            {
                var at = host.Value + done;
                if (!_any || at < _start || at >= _last.End)
                {
                    if (Seeks >= MaximumSeeks)
                        break;
                    _last = file.FindRange(at);
                    _start = at;
                    Seeks += _last.Seeks;
                }

                if (_any && _last.IsHole != IsHole)
                    break;
                (_any, IsHole) = (true, _last.IsHole);
                done += Math.Min(length - done, _last.End - at);
            }

            return done;
        }
    }
}
