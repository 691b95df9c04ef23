using System;
using System.Text;
using Qcow2Blk.Buffers;
using Qcow2Blk.Remote;
using Qcow2Blk.Remote.Http;
using Xunit;

namespace Qcow2Blk.Tests.Remote.Http;

/// <summary>What is read from the header of an answer: what says two things, or nothing that makes sense, says nothing.</summary>
public class HttpReplyTests
{
    [Theory]
    [InlineData("bytes 0-9/10", 0, 9, 10)]
    [InlineData("bytes 5-5/*", 5, 5, -1)]
    [InlineData("bytes */10", -1, -1, 10)]
    public void Range_is_read(string text, long start, long end, long total) =>
        Assert.Equal(new ContentRange(start, end, total), ContentRange.Parse(Encoding.ASCII.GetBytes(text)));

    [Theory]
    [InlineData("bytes 9-0/10")]
    [InlineData("bytes 0-10/10")]
    [InlineData("bytes +0-9/10")]
    [InlineData("bytes 0-+9/10")]
    [InlineData("bytes 0-9/+10")]
    [InlineData("bytes -1-9/10")]
    [InlineData("bytes 0-9/")]
    [InlineData("bytes 0-9")]
    [InlineData("bytes 0-9/99999999999999999999")]
    [InlineData("items 0-9/10")]
    [InlineData("")]
    public void Range_that_makes_no_sense_is_none(string text) => Assert.Null(ContentRange.Parse(Encoding.ASCII.GetBytes(text)));

    [Theory]
    [InlineData("Content-Range: bytes 0-9/10", "Content-Range: bytes 0-8/10", "Content-Range")]
    [InlineData("Content-Length: 10", "Content-Length: 11", "Content-Length")]
    [InlineData("ETag: \"one\"", "ETag: \"two\"", "entity tags")]
    [InlineData("ETag: \"one\"", "ETag: W/\"one\"", "entity tags")]
    public void Header_that_says_two_things_is_at_fault(string one, string other, string fault)
    {
        var reply = ReplyOf("HTTP/1.1 206 Partial Content", one, other, "");
        Assert.Contains(fault, reply.Fault, StringComparison.Ordinal);
        var verdict = HttpVerdict.Judge(reply, new RangeRequest(0, new NativeBuffer(4096, 10), null, NeedsVersion: false));
        Assert.Equal(FetchStatus.Unavailable, verdict.Status);
        Assert.Contains(fault, verdict.Why, StringComparison.Ordinal);
        Assert.Null(ReplyOf("HTTP/1.1 206 Partial Content", one, one, "").Fault);
    }

    [Theory]
    [InlineData("\"one\"", "\"one\"")]
    [InlineData("one\"", null)]
    [InlineData("\"one", null)]
    [InlineData("W/\"one\"", null)]
    [InlineData("\"\"", null)]
    [InlineData("\"o\"e\"", null)]
    [InlineData("\"o e\"", null)]
    public void Tag_counts_if_it_is_a_strong_one(string text, string? tag) =>
        Assert.Equal(tag, ReplyOf("HTTP/1.1 206 Partial Content", "ETag: " + text, "").Tag);

    [Fact]
    public void Interim_answer_is_followed_by_the_answer()
    {
        var reply = ReplyOf("HTTP/1.1 103 Early Hints", "ETag: \"early\"", "");
        Assert.False(reply.IsComplete);
        Take(reply, "HTTP/1.1 206 Partial Content", "Content-Encoding: gzip", "x-amz-version-id: null", "");
        Assert.True(reply.IsComplete);
        Assert.Equal((206, null, true, null), (reply.Status, reply.Tag, reply.IsEncoded, reply.VersionId));
    }

    private static HttpReply ReplyOf(params string[] lines)
    {
        var reply = new HttpReply();
        reply.Clear();
        Take(reply, lines);
        return reply;
    }

    private static void Take(HttpReply reply, params string[] lines)
    {
        foreach (var line in lines)
            Assert.True(reply.Take(Encoding.ASCII.GetBytes(line + "\r\n")));
    }
}
