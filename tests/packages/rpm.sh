# Sourced by run.sh: the life of the rpms in a root of its own. Its programs are Debian's, but rpm knows of nothing there except
# what a package "base" says it has: a shell, pkg-config and a C library of version 2.34, as in the oldest release that is served.

in_rpm() {
    root=$test/root-rpm
    clean_root bookworm "$root" || { check rpm/root false; return; }
    make_base || { check rpm/base false; return; }
    files_of "$root" >"$test/rpm.before"
    check rpm/installs-with-glibc-2.34-and-a-shell rpm_installs
    check rpm/reads-and-serves-an-image command_serves
    check rpm/upgrade-keeps-what-runs-and-what-was-edited rpm_upgrades
    check rpm/removal-with-attached-devices-is-refused rpm_removal_is_refused
    check rpm/removal-leaves-nothing rpm_is_removed
    drop_root "$root"
}

in_root() { rpm --force-debian --root "$root" --dbpath /var/lib/rpm "$@"; }

make_base() {
    local spec=$test/base.spec versions library
    versions=$(printf '2.%s ' 2.5 3 3.2 3.3 3.4 4 $(seq 5 34))
    {
        printf 'Name: base\nVersion: 1\nRelease: 1\nSummary: what the root has\nLicense: none\nAutoReqProv: no\n'
        printf 'Provides: /bin/sh /usr/bin/pkg-config rtld(GNU_HASH)\n'
        for library in libc.so.6 libm.so.6 ld-linux-x86-64.so.2; do
            printf 'Provides: %s()(64bit)\n' $library
            # shellcheck disable=SC2086
            printf "Provides: $library(GLIBC_%s)(64bit)\n" $versions
        done
        printf '%%description\nnone\n%%files\n'
    } >"$spec"
    rpmbuild -bb --quiet --define "_topdir $test/base" "$spec" >"$logs/rpm-base.log" 2>&1 || return 1
    # Folders of the packages "filesystem" and "systemd" on systems with rpm.
    mkdir -p "$root"/var/{lib/rpm,cache} "$root"/usr/{lib64/pkgconfig,share/licenses,share/man/man{3,5,7,8}} \
        "$root"/usr/lib/{systemd/system-generators,sysusers.d,tmpfiles.d,modules-load.d,udev/rules.d}
    rpm --root "$root" --dbpath /var/lib/rpm --initdb && in_root -i "$test"/base/RPMS/*/base-1-1.*.rpm
}

rpms() { # FOLDER VERSION
    printf '%s\n' "$1/qcow2blk-$2-1.x86_64.rpm" "$1/qcow2blk-libs-$2-1.x86_64.rpm" "$1/qcow2blk-devel-$2-1.x86_64.rpm"
}

rpm_installs() {
    # shellcheck disable=SC2046
    in_root -i $(rpms "$old" $old_version)
    expect "packages" 3 "$(in_root -qa | grep -c "^qcow2blk.*-$old_version-1")"
    expect "files that differ from the package" "" "$(in_root -V qcow2blk qcow2blk-libs qcow2blk-devel)"
    expect "the cache's folder" "700 root root" "$(stat -c '%a %U %G' "$root/var/cache/qcow2blk")"
    inside qcow2blk --version
    make_disk "$root/root/disk.qcow2"
    inside qcow2blk info --json /root/disk.qcow2 | grep '"virtual-size": *8388608'
}

rpm_upgrades() {
    local server said conffile
    server=$(inside qcow2blk list --json | grep -o '"pid": *[0-9]*')
    echo 'IMAGE=/root/disk.qcow2' >"$root/etc/qcow2blk/mine.conf"
    for conffile in $(in_root -q --configfiles qcow2blk); do
        echo '# mine' >>"$root$conffile"
    done
    # shellcheck disable=SC2046
    said=$(in_root -U $(rpms "$new" "$new_version"))
    echo "$said"
    expect "packages" 3 "$(in_root -qa | grep -c "^qcow2blk.*-$new_version-1")"
    grep 'continue with the program that they were started with' <<<"$said"
    expect "server" "$server" "$(inside qcow2blk list --json | grep -o '"pid": *[0-9]*')"
    serves_the_disk
    expect "what the administrator wrote" IMAGE=/root/disk.qcow2 "$(cat "$root/etc/qcow2blk/mine.conf")"
    for conffile in $(in_root -q --configfiles qcow2blk); do
        expect "last line of $conffile" '# mine' "$(tail -n 1 "$root$conffile")"
    done
    [ ! -e "$root/usr/lib64/libqcow2blk.so.$old_version" ] || fail "the old library is still there"
}

rpm_removal_is_refused() {
    local said
    said=$(in_root -e qcow2blk 2>&1) && fail "the package was removed under an attached device"
    echo "$said"
    grep 'cannot be removed: these devices are attached' <<<"$said"
    grep 'disk  *running' <<<"$said"
    expect "package" "qcow2blk-$new_version-1.x86_64" "$(in_root -q qcow2blk)"
    serves_the_disk
}

rpm_is_removed() {
    inside qcow2blk detach disk
    rm -f "$root/etc/qcow2blk/mine.conf" "$root"/root/disk.qcow2*
    in_root -e qcow2blk qcow2blk-libs qcow2blk-devel
    # What was edited is kept beside, as rpm does.
    find "$root/etc" -name '*.rpmsave' -delete
    files_of "$root" | grep -vxF ./run/qcow2blk >"$test/rpm.after"
    diff "$test/rpm.before" "$test/rpm.after"
}
