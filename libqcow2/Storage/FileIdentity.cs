namespace Qcow2Blk.Storage;

/// <summary>What tells a file from others, whatever their names: file system and inode number.</summary>
/// <param name="Major">device number of the file system</param>
/// <param name="Minor">device number of the file system</param>
/// <param name="Inode">number of the file in it</param>
internal readonly record struct FileIdentity(uint Major, uint Minor, ulong Inode)
{
    /// <summary>As state files keep it: <c>MAJOR:MINOR:INODE</c>.</summary>
    public override string ToString() => $"{Major}:{Minor}:{Inode}";
}
