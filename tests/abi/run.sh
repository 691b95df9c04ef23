#!/bin/bash
# Tests the C library and its bindings as a user gets them: all is compiled and run against what "make install" installs.
# The last line on stdout is "N passed, N failed" (", N skipped" if some were); the exit status is 0 only if nothing
# failed. Logs: artifacts/abi/logs.
# Usage: tests/abi/run.sh [--short] [WORD...]    --short: 50 rounds of the stress instead of 1000
#                                                WORD: only what has one of the words in its name (c/200-pread, sanitized/, go)
# QCOW2BLK_ABI_ROOT names an installation to be tested, instead of one that is made from artifacts/.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

rounds=1000 words=()
for word in "$@"; do
    case $word in
        --short) rounds=50 ;;
        -*) echo "tests/abi/run.sh: no option $word (usage: tests/abi/run.sh [--short] [WORD...])" >&2; exit 2 ;;
        *) words+=("$word") ;;
    esac
done

abi=$PWD/artifacts/abi
logs=$abi/logs bin=$abi/bin root=${QCOW2BLK_ABI_ROOT:-$abi/root}
passed=0 failed=0 skipped=0

# A test that hangs is one that fails.
time_limit=120
# Sanitizers watch the host program and what it hands over. These measure memory, threads or signals, which the sanitizer
# has of its own, or set limits that it cannot live with.
not_sanitized='955-stress 970-signals 975-fork 980-dlopen 985-two-runtimes 990-memory'
# valgrind runs the code of the engine itself, at a fiftieth of its speed: a few tests show that it finds nothing. It has no
# thread run while one of them waits for an io_uring, so that the engine has to do without.
with_valgrind='100-open-close 200-pread 210-pwrite 300-aio-pread 370-caller-loop'

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }

wanted() { # NAME
    local word
    [ ${#words[@]} -eq 0 ] && return 0
    for word in "${words[@]}"; do
        [[ $1 == *"$word"* ]] && return 0
    done
    return 1
}

result() { # NAME STATUS LOG: 0 is passed, 77 skipped, all else failed
    case $2 in
        0) passed=$((passed + 1)) ;;
        77) skipped=$((skipped + 1)); say "$1: skipped: $(sed -n 's/^skipped: //p' "$3" | tail -1)" ;;
        *)
            failed=$((failed + 1))
            case $2 in
                124 | 137) say "$1: FAILED: stopped, it did not end in time (log: $3)" ;;
                *) say "$1: FAILED with status $2 (log: $3)" ;;
            esac
            tail -n 15 "$3" | sed 's/^/    /' ;;
    esac
}

check() { # NAME COMMAND...: one test
    local name=$1 log=$logs/${1//\//-}.log status started=$SECONDS
    shift
    wanted "$name" || return 0
    timeout --kill-after=5 "$time_limit" "$@" >"$log" 2>&1 </dev/null
    status=$?
    result "$name" $status "$log"
    [ $((SECONDS - started)) -lt 10 ] || say "$name: took $((SECONDS - started)) s"
}

# What another script counts: its last line is "LANGUAGE: N passed, N failed".
check_language() { # LANGUAGE
    local log=$logs/$1.log script=tests/abi/$1.sh line status
    wanted "$1" || return 0
    if [ ! -x "$script" ]; then
        echo "$script does not exist: the tests of bindings/$1 cannot run" >"$log"
        result "$1" 1 "$log"
        return
    fi
    say "$1: running (log: $log)"
    timeout --kill-after=5 30m "$script" >"$log" 2>&1 </dev/null
    status=$?
    line=$(tail -n 1 "$log")
    if [[ $line =~ ^$1:\ ([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]] &&
       [ $((BASH_REMATCH[1] + BASH_REMATCH[2])) -gt 0 ]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2])) skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
        say "$line"
        [ "${BASH_REMATCH[2]}" -eq 0 ] ||
            grep -E '^ *(--- )?(FAIL|ERROR|FAILED|error)\b|panicked|\.\.\. FAILED' "$log" | head -n 20 | sed 's/^/    /'
        [ $status -eq 0 ] || [ "${BASH_REMATCH[2]}" -gt 0 ] || result "$1 (its script)" $status "$log"
    else
        result "$1" $((status == 0 ? 1 : status)) "$log"
    fi
}

install_all() {
    [ -z "${QCOW2BLK_ABI_ROOT:-}" ] || return 0
    say "installing into $root"
    rm -rf "$root"
    if ! make --no-print-directory install DESTDIR="$root" PREFIX=/usr >"$logs/install.log" 2>&1; then
        cat "$logs/install.log" >&2
        return 1
    fi
}

make_images() {
    local made=$abi/images/.made
    if [ ! -e "$made" ] || [ tests/abi/make-images.sh -nt "$made" ]; then
        say "making images"
        rm -rf "$abi/images"
        tests/abi/make-images.sh "$abi/images" || return 1
        touch "$made"
    fi
}

# A second library of another project with a .NET runtime of its own, for 985-two-runtimes.
make_second() {
    local output=$abi/second/libsecond.so
    wanted c/985-two-runtimes || return 0
    if [ ! -e "$output" ] || [ -n "$(find tests/abi/second -newer "$output" -name '*.cs*' -not -path '*/obj/*')" ]; then
        say "building a second native library"
        dotnet publish tests/abi/second -r "linux-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')" -c Release \
            -o "$abi/second/publish" >"$logs/second.log" 2>&1 || { tail -n 5 "$logs/second.log" >&2; return 1; }
        cp "$abi/second/publish/second.so" "$output"
    fi
}

compile() { # OUTPUT SOURCE OPTION...: what is said about a program goes to the log of its test
    local output=$1 source=$2
    shift 2
    mkdir -p "$(dirname "$output")"
    # --as-needed: a test that opens the library by dlopen is not linked with it.
    # shellcheck disable=SC2046
    gcc -std=c99 -Wall -Wextra -Werror -O1 -g "$@" -Wl,--as-needed "$source" -o "$output" $(pkg-config --cflags --libs qcow2blk) \
        -pthread -ldl
}

compile_and_run() { # NAME SOURCE OPTION... [-- WRAPPER...]
    local name=$1 source=$2 options=() log=$logs/${1//\//-}.log
    shift 2
    wanted "$name" || return 0
    while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
    [ $# -eq 0 ] || shift
    if compile "$bin/$name" "$source" "${options[@]}" >"$log" 2>&1; then
        check "$name" "$@" "$bin/$name"
    else
        result "$name" 1 "$log"
    fi
}

check_header() {
    local probe=$bin/header.c standard
    # Twice, and with nothing before it.
    printf '#include <qcow2blk.h>\n#include <qcow2blk.h>\nint main (void) { return sizeof (struct qcow2blk_extent) != 24; }\n' >"$probe"
    cp "$probe" "$bin/header.cc"
    local flags=(-Wall -Wextra -Werror -pedantic)
    for standard in c99 c11; do
        check "header/$standard" gcc -std=$standard "${flags[@]}" "-I$root/usr/include" -fsyntax-only "$probe"
    done
    check header/c++17 g++ -std=c++17 "${flags[@]}" "-I$root/usr/include" -fsyntax-only "$bin/header.cc"
}

check_c() {
    local source name
    for source in tests/abi/c/[0-9]*.c; do
        name=$(basename "$source" .c)
        [ "$name" = 955-stress ] && time_limit=1200
        compile_and_run "c/$name" "$source"
        time_limit=120
    done
    compile_and_run c/995-old-client tests/abi/old-client/client-0.1.c
}

# The runtime is never torn down, so that some of its memory has no owner at the end: lsan.supp names that.
check_sanitized() {
    local source name
    for source in tests/abi/c/[0-9]*.c; do
        name=$(basename "$source" .c)
        [[ " $not_sanitized " == *" $name "* ]] && continue
        compile_and_run "sanitized/$name" "$source" -fsanitize=address,undefined -fno-sanitize-recover=all -- \
            env "LSAN_OPTIONS=suppressions=$PWD/tests/abi/lsan.supp:print_suppressions=0" \
            ASAN_OPTIONS=detect_stack_use_after_return=1:allocator_may_return_null=1
    done
}

check_valgrind() {
    local name
    for name in $with_valgrind; do
        compile_and_run "valgrind/$name" "tests/abi/c/$name.c" -- \
            env QCOW2BLK_IO_URING=off valgrind -q --fair-sched=yes --error-exitcode=99 --suppressions=tests/abi/valgrind.supp
    done
}

check_examples() {
    local source name
    for source in bindings/c/*.c; do
        name=$(basename "$source" .c)
        wanted "examples/$name" || continue
        if compile "$bin/examples/$name" "$source" >"$logs/examples-$name.log" 2>&1; then
            check "examples/$name" tests/abi/examples.sh "$name" "$bin/examples/$name"
        else
            result "examples/$name" 1 "$logs/examples-$name.log"
        fi
    done
    check examples/readme tests/abi/examples.sh readme "$bin/examples/readme"
}

mkdir -p "$logs" "$bin"
for tool in gcc g++ pkg-config qemu-img qemu-io nbdinfo valgrind go cargo; do
    command -v $tool >/dev/null && continue
    echo "tests/abi/run.sh: $tool is missing (run packaging/install-build-deps.sh abi; for cargo see https://rustup.rs)" >&2
    exit 1
done
install_all && make_images || exit 1
make_second || say "the second native library was not built; 985-two-runtimes will say so"

run_folder=$(mktemp -d /tmp/qcow2blk-abi-XXXXXX)
trap 'rm -rf "$run_folder"' EXIT
export QCOW2BLK_RUNTIME_DIR=$run_folder/run QCOW2BLK_CACHE_DIR=$run_folder/cache
export QCOW2BLK_TEST_IMAGES=$abi/images QCOW2BLK_ABI_ROUNDS=$rounds
export QCOW2BLK_TEST_SECOND=$abi/second/libsecond.so TMPDIR=$run_folder
# The .pc file says /usr: with this in front of it, -I and -L lead into the installation.
export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=$root/usr/lib/pkgconfig
export PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
export LD_LIBRARY_PATH=$root/usr/lib PATH=$root/usr/bin:$PATH
mkdir -m 0700 "$QCOW2BLK_RUNTIME_DIR"

say "header and names"
check_header
check names /usr/bin/python3 tests/abi/names.py "$root/usr"
say "tests in C"
check_c
say "tests in C with address and undefined behaviour sanitizers"
check_sanitized
say "tests in C under valgrind"
check_valgrind
say "examples in C"
check_examples
say "README programs, from installed files"
for language in c go rust python; do
    check "installed/$language" tests/abi/installed.sh $language "$root/usr/share/qcow2blk/bindings"
done
check_language python
check_language go
check_language rust

summary="$passed passed, $failed failed"
[ $skipped -eq 0 ] || summary="$summary, $skipped skipped"
echo "$summary"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
