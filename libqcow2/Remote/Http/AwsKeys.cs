namespace Qcow2Blk.Remote.Http;

/// <summary>Keys of an AWS account, or of a store that has the same interface.</summary>
/// <param name="KeyId">the access key's name, which is not secret</param>
/// <param name="SecretKey">the key</param>
/// <param name="SessionToken">what goes with keys for a time; null for none</param>
internal sealed record AwsKeys(string KeyId, string SecretKey, string? SessionToken)
{
    /// <summary>Never the key.</summary>
    public override string ToString() => $"access key {KeyId}";
}
