# Sourced by run.sh: the life of the debs in a clean root of a Debian release.

in_debian() { # SUITE
    local suite=$1
    root=$test/root-$suite
    clean_root "$suite" "$root" || { check "$suite/root" false; return; }
    files_of "$root" >"$test/$suite.before"
    check "$suite/installs-with-what-a-minimal-system-has" deb_installs
    check "$suite/a-program-compiles-and-runs" program_compiles
    check "$suite/reads-and-serves-an-image" command_serves
    check "$suite/upgrade-keeps-what-runs-and-what-was-edited" deb_upgrades
    check "$suite/removal-with-attached-devices-is-refused" deb_removal_is_refused
    check "$suite/removal-keeps-configuration" deb_is_removed
    check "$suite/purge-leaves-nothing" deb_is_purged "$suite"
    drop_root "$root"
}

debs() { # FOLDER VERSION: into the root
    local name
    mkdir -p "$root/tmp/debs"
    for name in qcow2blk libqcow2blk0 libqcow2blk-dev; do
        cp "$1/${name}_$2-1_amd64.deb" "$root/tmp/debs/"
    done
}

version_of() { inside dpkg-query -W -f '${db:Status-Status} ${Version}' "$1"; }

deb_installs() {
    debs "$old" $old_version
    inside sh -c 'dpkg -i /tmp/debs/*.deb'
    for name in qcow2blk libqcow2blk0 libqcow2blk-dev; do
        expect "$name" "installed $old_version-1" "$(version_of $name)"
    done
    expect "files that differ from the package" "" "$(inside dpkg --verify qcow2blk libqcow2blk0 libqcow2blk-dev)"
    expect "the cache's folder" "700 root root" "$(stat -c '%a %U %G' "$root/var/cache/qcow2blk")"
    inside qcow2blk --version
    inside ldconfig -p | grep libqcow2blk.so.0
    make_disk "$root/root/disk.qcow2"
    inside qcow2blk info --json /root/disk.qcow2 | grep '"virtual-size": *8388608'
}

# With the example of the package, as its first lines say.
program_compiles() {
    # shellcheck disable=SC2016
    inside sh -c 'cd /root &&
        cc -std=c99 -Wall -Werror /usr/share/qcow2blk/bindings/c/read.c -o read $(pkg-config --cflags --libs qcow2blk)'
    for range in "0 65536" "4194304 262144"; do
        read -r offset length <<<"$range"
        # shellcheck disable=SC2086
        expect "bytes from $offset" "$(od -An -v -tx1 -j "$offset" -N "$length" "$root/root/disk.qcow2.raw" | tr -d ' \n' | md5sum)" \
            "$(inside /root/read /root/disk.qcow2 $range | sed 's/^[0-9a-f]* //' | tr -d ' \n' | md5sum)"
    done
    rm "$root/root/read"
}

command_serves() {
    inside qcow2blk attach /root/disk.qcow2 --socket /run/disk.sock
    serves_the_disk
}

serves_the_disk() {
    nbdcopy "nbd+unix:///?socket=$root/run/disk.sock" "$root/tmp/copy"
    cmp "$root/tmp/copy" "$root/root/disk.qcow2.raw"
    rm "$root/tmp/copy"
}

deb_upgrades() {
    local server conffile said
    server=$(inside qcow2blk list --json | grep -o '"pid": *[0-9]*')
    echo 'IMAGE=/root/disk.qcow2' >"$root/etc/qcow2blk/mine.conf"
    while read -r conffile _; do
        [ -z "$conffile" ] || echo '# mine' >>"$root$conffile"
    done < <(inside dpkg-query -W -f '${Conffiles}\n' qcow2blk)
    debs "$new" "$new_version"
    rm "$root"/tmp/debs/*_$old_version-1_*
    said=$(inside sh -c 'dpkg -i /tmp/debs/*.deb')
    echo "$said"
    expect "package" "installed $new_version-1" "$(version_of qcow2blk)"
    grep 'continue with the program that they were started with' <<<"$said"
    grep 'disk  *running' <<<"$said"
    expect "server" "$server" "$(inside qcow2blk list --json | grep -o '"pid": *[0-9]*')"
    serves_the_disk
    expect "what the administrator wrote" IMAGE=/root/disk.qcow2 "$(cat "$root/etc/qcow2blk/mine.conf")"
    while read -r conffile _; do
        [ -z "$conffile" ] || expect "last line of $conffile" '# mine' "$(tail -n 1 "$root$conffile")"
    done < <(inside dpkg-query -W -f '${Conffiles}\n' qcow2blk)
    # The library of the old version is gone, and programs find the new one.
    [ ! -e "$root/usr/lib/x86_64-linux-gnu/libqcow2blk.so.$old_version" ] || fail "the old library is still there"
    expect "library" "libqcow2blk.so.$new_version" "$(readlink "$root/usr/lib/x86_64-linux-gnu/libqcow2blk.so.0")"
}

deb_removal_is_refused() {
    local said
    said=$(inside dpkg -r qcow2blk 2>&1) && fail "the package was removed under an attached device"
    echo "$said"
    grep 'cannot be removed: these devices are attached' <<<"$said"
    grep 'disk  *running' <<<"$said"
    grep 'qcow2blk detach NAME' <<<"$said"
    expect "package" "installed $new_version-1" "$(version_of qcow2blk)"
    serves_the_disk
}

deb_is_removed() {
    inside qcow2blk detach disk
    inside dpkg -r qcow2blk libqcow2blk-dev libqcow2blk0
    [ ! -e "$root/usr/bin/qcow2blk" ] || fail "the program is still there"
    expect "what the administrator wrote" IMAGE=/root/disk.qcow2 "$(cat "$root/etc/qcow2blk/mine.conf")"
    qemu-img check -q "$root/root/disk.qcow2"
}

deb_is_purged() { # SUITE
    rm -f "$root/etc/qcow2blk/mine.conf" "$root"/root/disk.qcow2*
    mkdir -p "$root"/var/cache/qcow2blk{,-nbd}/entry
    inside dpkg -P qcow2blk libqcow2blk0
    expect "packages left" "" "$(inside dpkg-query -W -f '${Package}\n' | grep qcow2 || true)"
    files_of "$root" >"$test/$1.after"
    diff "$test/$1.before" "$test/$1.after"
}
