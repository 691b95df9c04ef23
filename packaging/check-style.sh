#!/bin/bash
# What no build of every day does, as it costs several times as much: the analyzers (warnings are errors), and whether
# "dotnet format" would change a file.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p artifacts
log=artifacts/check.log
# Not over the outputs of other builds: those would be up to date, and not analyzed.
if ! dotnet build Qcow2Aot.sln -c Release -p:Analyze=true --no-incremental >"$log" 2>&1; then
    grep -E '(error|warning) [A-Z]+[0-9]+' "$log" | sort -u >&2 || cat "$log" >&2
    echo "check: the analyzers complain (log: $log)" >&2
    exit 1
fi
dotnet format whitespace Qcow2Aot.sln --verify-no-changes --no-restore
dotnet format style Qcow2Aot.sln --verify-no-changes --no-restore
echo "check: nothing to say"
