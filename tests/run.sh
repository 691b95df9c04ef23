#!/bin/bash
# Builds and runs every test project against the native binary and adds up the results.
# The last line on stdout is "N passed, N failed" (", N skipped" if some were); the exit status is 0 only if
# nothing failed and every project produced a result. Logs and .trx files: artifacts/test/.
# Usage: tests/run.sh [PROJECT...]        (default: unit crash interop bench terminal manual fleet)
#        tests/run.sh PROJECT FILTER...   only tests whose name contains FILTER: a class, a part of a method's name
#        tests/run.sh PROJECT --quick     without those marked slow ([Trait("Speed", "slow")]: more than 4 s)
# unit and crash need no native binary; where there is one, unit tests of the command run that.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

# A hung project must not hide the results of the others.
time_limit=${QCOW2BLK_TEST_TIMEOUT:-20m}
progress_every=15
results=artifacts/test
projects=() filters=()
for word in "$@"; do
    if [ "$word" = --quick ]; then
        filters+=(-trait- Speed=slow)
    elif [ -d "tests/$word" ]; then
        projects+=("$word")
    else
        filters+=(-method "*$word*")
    fi
done
if [ ${#projects[@]} -eq 0 ]; then
    [ ${#filters[@]} -eq 0 ] || { echo "tests/run.sh: no tests/$1 (a filter comes after its project)" >&2; exit 2; }
    projects=(unit crash interop bench terminal manual fleet)
fi
passed=0 failed=0 skipped=0

# The interop, crash and speed tests run what users get.
export QCOW2BLK_BINARY=${QCOW2BLK_BINARY:-$PWD/artifacts/qcow2blk}
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }

# Bases that the caches of this machine have: what tests fetch belongs into directories of their own.
machine_caches() {
    local cache
    for cache in /var/cache/qcow2blk "${XDG_CACHE_HOME:-$HOME/.cache}/qcow2blk"; do
        [ ! -d "$cache" ] || find "$cache" -mindepth 1 -maxdepth 1 -type d
    done 2>/dev/null | sort
}

require_untouched_caches() { # PROJECT BEFORE
    local added
    added=$(comm -13 <(printf '%s\n' "$2") <(machine_caches))
    [ -z "$added" ] || project_failed "$1: left bases in the cache of this machine: $(echo "$added" | head -3 | tr '\n' ' ')"
}

project_failed() {
    failed=$((failed + 1))
    say "$1"
}

build() { # PROJECT
    local log=$results/$1.build.log
    say "$1: building"
    dotnet build "$(echo tests/"$1"/*.csproj)" -c Release -v minimal >"$log" 2>&1 && return 0
    grep -E 'error|warning' "$log" | sort -u | head -20
    project_failed "$1: the build failed, so the project produced no result (log: $log)"
    return 1
}

show_progress() { # PROJECT LOG
    local finished last
    while sleep $progress_every >/dev/null 2>&1; do # nobody is to wait for a stray sleep
        finished=$(grep -c '\[FINISHED\]' "$2")
        last=$(grep -E '\[STARTING\]$' "$2" | tail -1 | sed 's/^ *//; s/ \[STARTING\]//; s/^Qcow2Blk\.Tests\.//')
        say "$1: $finished tests finished, at ${last:-start}"
    done
}

# What the runner said of each failure: from its [FAIL] line to the line that ends the test.
show_failures() { # LOG
    awk '/\[FAIL\]/ { show = 1 } /\[FINISHED\]|\[STARTING\]/ { show = 0 } show' "$1"
}

show_skips() { # LOG
    awk '/\[SKIP\]$/ { name = $1; getline; sub(/^ +/, ""); print "    skipped " name ": " $0 }' "$1"
}

counter() { # NAME TRX
    grep -o '<Counters [^>]*>' "$2" | sed -n "s/.* $1=\"\([0-9]*\)\".*/\1/p"
}

run() { # PROJECT
    local name=$1 log=$results/$1.log trx=$results/$1.trx assembly status started=$SECONDS
    assembly=$(basename tests/"$name"/*.csproj .csproj)
    say "$name: running (log: $log)"
    show_progress "$name" "$log" &
    local progress=$!
    timeout --kill-after=10 "$time_limit" dotnet "tests/$name/bin/Release/net10.0/$assembly.dll" \
        -reporter verbose -noColor -noAutoReporters -trx "$trx" "${filters[@]}" >"$log" 2>&1 </dev/null
    status=$?
    kill "$progress"
    wait "$progress" 2>/dev/null
    show_failures "$log"
    if [ ! -s "$trx" ] || [ -z "$(counter total "$trx")" ]; then
        tail -5 "$log"
        [ $status -eq 124 ] && say "$name: stopped after $time_limit"
        project_failed "$name: produced no result (exit status $status, log: $log)"
        return
    fi
    add_up "$name" "$trx" "$status" "$((SECONDS - started))"
    show_skips "$log"
}

add_up() { # PROJECT TRX STATUS SECONDS
    local ok bad all skip
    ok=$(counter passed "$2") bad=$(counter failed "$2") all=$(counter total "$2")
    skip=$((all - ok - bad))
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
    say "$1: $ok passed, $bad failed, $skip skipped in $4 s"
    [ "$all" -gt 0 ] || project_failed "$1: holds no test"
    # A fixture or the runner itself broke although every single test passed.
    [ "$3" -eq 0 ] || [ "$bad" -gt 0 ] || project_failed "$1: the runner ended with exit status $3 (log: $results/$1.log)"
}

# The benchmark's own conclusions, the tests of the manual and what people see, in Python.
run_python() { # PROJECT
    local log=$results/$1.log status=0 all bad skip
    say "$1: running (log: $log)"
    timeout --kill-after=10 "$time_limit" /usr/bin/python3 -m unittest discover -s "tests/$1" >"$log" 2>&1 || status=$?
    all=$(sed -n 's/^Ran \([0-9]*\) tests\? in .*/\1/p' "$log")
    bad=$(grep -cE '^(FAIL|ERROR): ' "$log")
    skip=$(sed -n 's/^\(OK\|FAILED\) (.*skipped=\([0-9]*\).*/\2/p' "$log")
    if [ "${all:-0}" -eq 0 ] || { [ $status -ne 0 ] && [ "$bad" -eq 0 ]; }; then
        tail -5 "$log"
        project_failed "$1: produced no result (exit status $status, log: $log)"
        return
    fi
    [ "$bad" -eq 0 ] || cat "$log"
    passed=$((passed + all - bad - ${skip:-0})) failed=$((failed + bad)) skipped=$((skipped + ${skip:-0}))
    say "$1: $((all - bad - ${skip:-0})) passed, $bad failed, ${skip:-0} skipped"
}

mkdir -p "$results"
for project in "${projects[@]}"; do
    case $project in unit | crash) continue ;; esac
    [ -x "$QCOW2BLK_BINARY" ] || { echo "tests/run.sh: $QCOW2BLK_BINARY does not exist (run \"make build\")" >&2; exit 1; }
done
for project in "${projects[@]}"; do
    rm -f "$results/$project".{trx,log,build.log}
    : >"$results/$project.log"
    caches=$(machine_caches)
    if compgen -G "tests/$project/*.csproj" >/dev/null; then
        build "$project" && run "$project"
    else
        run_python "$project"
    fi
    require_untouched_caches "$project" "$caches"
done

summary="$passed passed, $failed failed"
[ $skipped -eq 0 ] || summary="$summary, $skipped skipped"
echo "$summary"
[ $failed -eq 0 ]
