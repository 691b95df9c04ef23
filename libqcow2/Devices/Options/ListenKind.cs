using System;
using System.Collections.Generic;
using System.Text.Json;

namespace Qcow2Blk.Devices.Options;

/// <summary>A TCP address to serve on. In JSON it is two members, which are options of their own.</summary>
internal sealed class ListenKind : ValueKind<ListenAddress?>
{
    public override string Noun => "a TCP address";

    public override ListenAddress? Parse(string said, string text) => ListenAddress.Parse(text);

    public override IReadOnlyList<string> Print(ListenAddress? value) => [value!.Value.ToString()];

    public override bool TryRead(ref Utf8JsonReader reader, out ListenAddress? value) =>
        throw new NotSupportedException("it is not stored");

    public override void Write(Utf8JsonWriter writer, ListenAddress? value) => throw new NotSupportedException("it is not stored");
}
