using System;
using System.Collections.Generic;
using System.Linq;
using Qcow2Blk.Interop;
using Qcow2Blk.Remote.Http;
using Qcow2Blk.Tests.Shared;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Http;

/// <summary>Signatures, by the examples that AWS publishes ("Signature Calculations for the Authorization Header", S3 API).</summary>
public sealed class SignatureTests
{
    private const string Id = "AKIAIOSFODNN7EXAMPLE", Secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    private const string Host = "examplebucket.s3.amazonaws.com", Stamp = "20130524T000000Z";
    private const string Empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    private static readonly DateTimeOffset s_then = new(2013, 5, 24, 0, 0, 0, TimeSpan.Zero);

    public static TheoryData<string, string?, string> Examples => new()
    {
        { "/test.txt", "bytes=0-9", "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41" },
        { "/?lifecycle", null, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543" },
        { "/?max-keys=2&prefix=J", null, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
        { "/?prefix=J&max-keys=2", null, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7" },
    };

    [Theory]
    [MemberData(nameof(Examples))]
    public void Signature_is_the_published_one(string target, string? range, string signature)
    {
        Assert.Null(LibCrypto.Load());
        Assert.Null(HttpTarget.Parse($"https://{Host}{target}", out var parsed));
        (string, string)[] others = range is null ? [] : [("range", range)];
        var headers = AwsSignature.Sign(parsed!, new AwsKeys(Id, Secret, null), "us-east-1", s_then, others);
        var names = range is null ? "host;x-amz-content-sha256;x-amz-date" : "host;range;x-amz-content-sha256;x-amz-date";
        Assert.Equal([("x-amz-content-sha256", Empty), ("x-amz-date", Stamp), ("Authorization", Authorization(names, signature))], headers);
    }

    [Theory]
    [MemberData(nameof(Examples))]
    public void Verifier_takes_the_published_signature_and_no_other(string target, string? range, string signature)
    {
        var names = range is null ? "host;x-amz-content-sha256;x-amz-date" : "host;range;x-amz-content-sha256;x-amz-date";
        var headers = new List<(string Name, string Value)>
        {
            ("Host", Host), ("x-amz-content-sha256", Empty), ("x-amz-date", Stamp), ("Authorization", Authorization(names, signature)),
        };
        if (range is not null)
            headers.Add(("Range", range));
        var verifier = new SigV4Verifier(Id, Secret, "us-east-1");
        Assert.Null(verifier.Refuse("GET", target, headers, s_then));
        Assert.StartsWith("SignatureDoesNotMatch", verifier.Refuse("PUT", target, headers, s_then), StringComparison.Ordinal);
        Assert.StartsWith("SignatureDoesNotMatch", verifier.Refuse("GET", target + "x", headers, s_then), StringComparison.Ordinal);
        Assert.StartsWith("SignatureDoesNotMatch",
            new SigV4Verifier(Id, "other", "us-east-1").Refuse("GET", target, headers, s_then), StringComparison.Ordinal);
        Assert.StartsWith("RequestTimeTooSkewed", verifier.Refuse("GET", target, headers, s_then.AddHours(1)), StringComparison.Ordinal);
        var incomplete = headers.Where(each => each.Name != "x-amz-content-sha256").ToList();
        Assert.StartsWith("InvalidRequest", verifier.Refuse("GET", target, incomplete, s_then), StringComparison.Ordinal);
        Assert.StartsWith("AccessDenied",
            verifier.Refuse("GET", target, [.. headers, ("x-amz-meta", "1")], s_then), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("s3://disks/base.raw", null, "eu-west-1", "https://disks.s3.eu-west-1.amazonaws.com/base.raw")]
    [InlineData("s3://disks.example/a/b.raw", null, "us-east-1", "https://s3.us-east-1.amazonaws.com/disks.example/a/b.raw")]
    [InlineData("s3://disks/b", null, "cn-north-1", "https://disks.s3.cn-north-1.amazonaws.com.cn/b")]
    [InlineData("s3://disks/a%20b+c~d/é/../x//y", null, "us-east-1",
        "https://disks.s3.us-east-1.amazonaws.com/a%2520b%2Bc~d/%C3%A9/../x//y")]
    [InlineData("s3://disks/b?versionId=a/b", "https://store:9000", "us-east-1", "https://store:9000/disks/b?versionId=a%2Fb")]
    [InlineData("s3://Disks_1/b", "http://127.0.0.1:80/base/", "us-east-1", "http://127.0.0.1/base/Disks_1/b")]
    [InlineData("s3://disks/b", "https://s3.us-west-2.amazonaws.com", "us-west-2", "https://disks.s3.us-west-2.amazonaws.com/b")]
    public void Object_is_where_its_store_keeps_it(string url, string? endpoint, string region, string expected)
    {
        Assert.Null(S3Address.Parse(url, endpoint, out var address));
        Assert.Equal(expected, address!.TargetIn(region).Url);
    }

    [Theory]
    [InlineData("s3://disks", null, "names a bucket and a key")]
    [InlineData("s3://disks/", null, "names a bucket and a key")]
    [InlineData("s3://di@sks/b", null, "not the name of a bucket")]
    [InlineData("s3://../b", null, "not the name of a bucket")]
    [InlineData("s3://disks/b?x=1", null, "versionId")]
    [InlineData("s3://disks/b", "store:9000", "the endpoint ")]
    [InlineData("s3://disks/b", "ftp://store", "the endpoint ")]
    [InlineData("s3://disks/b", "https://user:pass@store", "the endpoint has credentials in it")]
    [InlineData("s3://disks/b", "https://store/?x", "the endpoint has a query")]
    public void Address_that_makes_no_sense_is_refused(string url, string? endpoint, string why) =>
        Assert.Contains(why, S3Address.Parse(url, endpoint, out _), StringComparison.Ordinal);

    private static string Authorization(string names, string signature) =>
        $"AWS4-HMAC-SHA256 Credential={Id}/20130524/us-east-1/s3/aws4_request,SignedHeaders={names},Signature={signature}";
}
