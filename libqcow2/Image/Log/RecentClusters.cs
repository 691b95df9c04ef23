using System;

namespace Qcow2Blk.Image.Log;

/// <summary>
/// Which host clusters something happened to lately, in a few KiB whatever their number: a cluster that is in is always
/// found, and one that has its place by chance now and then.
/// </summary>
internal sealed class RecentClusters
{
    private const int Places = 1 << 16;

    private readonly ulong[] _words = new ulong[Places / 64];
    private bool _any;

    public void Add(long first, long count)
    {
        _any |= count > 0;
        if (count >= Places)
        {
            _words.AsSpan().Fill(ulong.MaxValue);
            return;
        }

        for (var cluster = first; cluster < first + count; cluster++)
            _words[WordOf(cluster)] |= BitOf(cluster);
    }

    public void AddAll(RecentClusters other)
    {
        _any |= other._any;
        for (var word = 0; other._any && word < _words.Length; word++)
            _words[word] |= other._words[word];
    }

    public bool Contains(long cluster) => _any && (_words[WordOf(cluster)] & BitOf(cluster)) != 0;

    public void Clear()
    {
        if (_any)
            _words.AsSpan().Clear();
        _any = false;
    }

    private static int WordOf(long cluster) => (int)(cluster & (Places - 1)) >> 6;

    private static ulong BitOf(long cluster) => 1UL << (int)(cluster & 63);
}
