# Sourced by run.sh: the same sources in another folder, with another umask, time zone and language.

two_builds() {
    local second=$test/a/second/folder
    rm -rf "$test/a" && mkdir -p "$second"
    git ls-files -z --cached --others --exclude-standard | xargs -0 ls -d 2>/dev/null | tar -c -T - | tar -x -C "$second"
    (
        cd "$second"
        umask 027
        export TZ=Pacific/Auckland LC_ALL=C.UTF-8
        make --no-print-directory artifacts/qcow2blk artifacts/libqcow2blk.so
        /usr/bin/python3 packaging/packages/build.py --output out
    )
    expect "packages" 10 "$(find "$second/out" -name '*.deb' -o -name '*.rpm' | wc -l)"
    local package
    for package in "$new"/*.deb "$new"/*.rpm; do
        echo "$(sha256sum <"$package") $(sha256sum <"$second/out/${package##*/}") ${package##*/}"
        cmp "$package" "$second/out/${package##*/}"
    done
    rm -rf "$test/a"
}
