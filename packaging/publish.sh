#!/bin/bash
# Publishes a native binary and puts it in place as a whole, so that nobody ever runs half of one.
# Usage: packaging/publish.sh RID OUTPUT [PROJECT]     (PROJECT's assembly has the name of OUTPUT)
set -euo pipefail

rid=$1
output=$2
project=${3:-cli}
name=$(basename "$output")
folder=$(dirname "$output")
mkdir -p "$folder"
log=$folder/publish-$name.log

case $rid-$(uname -m) in
    linux-arm64-x86_64)
        packaging/arm64/fetch-libraries.sh
        cross=("-p:CppCompilerAndLinker=$PWD/packaging/arm64/cc" -p:ObjCopyName=aarch64-linux-gnu-objcopy
               "-p:LibraryArchives=$PWD/artifacts/arm64/lib" -p:GuardCompiler=aarch64-linux-gnu-gcc) ;;
    linux-x64-x86_64 | linux-arm64-aarch64)
        cross=() ;;
    *)
        echo "publish: cannot build $rid on $(uname -m) (linux-x64 builds on x86_64, linux-arm64 on x86_64 and aarch64)" >&2
        exit 1 ;;
esac

# For distributions, which want no second zlib: link with theirs (needs zlib1g-dev).
[ "${ZLIB:-}" != system ] || cross+=(-p:UseSystemZlib=true)

echo "building $output ($rid, native; log: $log)"
started=$SECONDS
if ! dotnet publish "$project" -r "$rid" -c Release -o "$folder/publish" \
        -p:StripSymbols=true "${cross[@]}" >"$log" 2>&1; then
    cat "$log" >&2
    echo "publish: building $output failed (the log is in $log)" >&2
    exit 1
fi
# Built beside the target, then renamed: a running server keeps the file it was started from.
cp "$folder/publish/$name" "$output.new"
chmod 0755 "$output.new"
mv -f "$output.new" "$output"
echo "built $output: $(stat -c %s "$output") bytes in $((SECONDS - started)) s"
