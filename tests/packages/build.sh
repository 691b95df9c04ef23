# Sourced by run.sh: builds the packages and looks at them from outside.

package() { # FOLDER OPTION...
    mkdir -p "$1"
    /usr/bin/python3 packaging/packages/build.py --output "$@"
}

build_packages() {
    rm -rf "$new" "$old"
    package "$new" >"$logs/build-new.log" 2>&1 || { tail -n 20 "$logs/build-new.log"; return 1; }
    package "$old" --version $old_version --without-debug >"$logs/build-old.log" 2>&1 || { tail -n 20 "$logs/build-old.log"; return 1; }
}

contains() { # PACKAGE PATH: a deb and an rpm have that path
    case $1 in
        *.deb) dpkg-deb -c "$1" | awk '{ print $6 }' | sed 's:^\.::; s:/$::' ;;
        *) rpm -qpl "$1" ;;
    esac | grep -xF "$2" || fail "$1 has no $2"
}

what_is_in_which_package() {
    local v=$new_version lib=/usr/lib/x86_64-linux-gnu
    expect "packages" 10 "$(find "$new" -name '*.deb' -o -name '*.rpm' | wc -l)"
    for path in /usr/bin/qcow2blk "/usr/lib/systemd/system/qcow2blk@.service" /usr/lib/udev/rules.d/60-qcow2blk.rules \
                /usr/lib/sysusers.d/qcow2blk.conf /usr/sbin/mount.qcow2 /usr/share/man/man8/qcow2blk.8.gz \
                /usr/share/bash-completion/completions/qcow2blk /var/cache/qcow2blk; do
        contains "$new/qcow2blk_$v-1_amd64.deb" "$path"
        contains "$new/qcow2blk-$v-1.x86_64.rpm" "$path"
    done
    contains "$new/qcow2blk_$v-1_amd64.deb" /usr/share/zsh/vendor-completions/_qcow2blk
    contains "$new/qcow2blk-$v-1.x86_64.rpm" /usr/share/zsh/site-functions/_qcow2blk
    contains "$new/libqcow2blk0_$v-1_amd64.deb" $lib/libqcow2blk.so.0
    contains "$new/qcow2blk-libs-$v-1.x86_64.rpm" /usr/lib64/libqcow2blk.so.0
    for path in /usr/include/qcow2blk.h /usr/share/man/man3/qcow2blk_image_open.3.gz /usr/share/qcow2blk/bindings/rust/Cargo.toml; do
        contains "$new/libqcow2blk-dev_$v-1_amd64.deb" $path
        contains "$new/qcow2blk-devel-$v-1.x86_64.rpm" $path
    done
    for name in qcow2blk libqcow2blk0; do
        for path in copyright changelog.gz changelog.Debian.gz THIRD-PARTY-NOTICES.gz; do
            contains "$new/${name}_$v-1_amd64.deb" /usr/share/doc/$name/$path
        done
        expect "needs of $name" "libc6 (>= 2.34)" "$(dpkg-deb -f "$new/${name}_$v-1_amd64.deb" Depends)"
    done
    dpkg-deb --fsys-tarfile "$new/qcow2blk_$v-1_amd64.deb" | tar -xO ./usr/share/doc/qcow2blk/THIRD-PARTY-NOTICES.gz | zcat |
        grep 'License notice for zlib-ng'
    # Whoever is linked with the library is told by its deb which one is needed.
    rm -rf "$test/shlibs" && mkdir -p "$test/shlibs/debian"
    dpkg-deb -R "$new/libqcow2blk0_$v-1_amd64.deb" "$test/shlibs/library"
    printf 'Source: use\n\nPackage: use\nArchitecture: any\n' >"$test/shlibs/debian/control"
    gcc -Iinclude bindings/c/read.c -o "$test/shlibs/use" "$test/shlibs/library$lib/libqcow2blk.so.0"
    (cd "$test/shlibs" && dpkg-shlibdeps -O -Slibrary -llibrary$lib use) | grep 'libqcow2blk0 (>= 0.1)'
    rm -rf "$test/shlibs"
}

debug_symbols() {
    local pair package symbols found
    for pair in "qcow2blk usr/bin/qcow2blk" "libqcow2blk0 usr/lib/x86_64-linux-gnu/libqcow2blk.so.$new_version"; do
        read -r package file <<<"$pair"
        rm -rf "$test/symbols"
        dpkg-deb -x "$new/${package}_$new_version-1_amd64.deb" "$test/symbols"
        dpkg-deb -x "$new/$package-dbgsym_$new_version-1_amd64.deb" "$test/symbols"
        found=$(readelf -n "$test/symbols/$file" | sed -n 's/.*Build ID: //p')
        symbols=$test/symbols/usr/lib/debug/.build-id/${found:0:2}/${found:2}.debug
        expect "build id of the symbols" "$found" "$(readelf -n "$symbols" | sed -n 's/.*Build ID: //p')"
        readelf -SW "$symbols" | grep '\.debug_info'
        nm "$symbols" | grep -c 'Qcow2Blk_Core'
        expect "build id in the control file" "$found" "$(dpkg-deb -f "$new/$package-dbgsym_$new_version-1_amd64.deb" Build-Ids)"
    done
    rm -rf "$test/symbols"
}

# Not the real nfpm, which no Debian has: a program in its place writes down what it is given.
nfpm_documents() {
    local bin=$test/nfpm
    rm -rf "$bin" && mkdir -p "$bin"
    cp tests/packages/nfpm-stand-in "$bin/nfpm"
    PATH=$bin:$PATH package "$test/nfpm/out" >/dev/null
    sort "$bin/calls" | tee "$bin/sorted"
    expect "calls" "deb libqcow2blk-dev, deb libqcow2blk0, deb libqcow2blk0-dbgsym, deb qcow2blk, deb qcow2blk-dbgsym, rpm qcow2blk, \
rpm qcow2blk-debuginfo, rpm qcow2blk-devel, rpm qcow2blk-libs, rpm qcow2blk-libs-debuginfo" "$(paste -sd, "$bin/sorted" | sed 's/,/, /g')"
    dpkg-deb -I "$(echo "$bin"/out/libqcow2blk0_*.deb)" symbols | grep qcow2blk_image_open
}

run_lintian() {
    # An error of lintian itself has another status; root is who runs this.
    lintian --allow-root --tag-display-limit 0 --fail-on error,warning --display-info "$new"/*.deb
}

run_rpmlint() {
    local said
    said=$(rpmlint --config packaging/packages/rpmlint.toml "$new"/*.rpm) || true
    echo "$said"
    grep -q '^ 5 packages and 0 specfiles checked; 0 errors, 0 warnings' <<<"$said"
}

arm64_packages() {
    local v=$new_version out=$test/arm64 package
    rm -rf "$out"
    package "$out" --rid linux-arm64 --without-debug
    for package in qcow2blk_$v-1 libqcow2blk0_$v-1; do
        expect "architecture" arm64 "$(dpkg-deb -f "$out/${package}_arm64.deb" Architecture)"
        expect "needs of $package" "libc6 (>= 2.34)" "$(dpkg-deb -f "$out/${package}_arm64.deb" Depends)"
    done
    dpkg-deb --fsys-tarfile "$out/qcow2blk_$v-1_arm64.deb" | tar -xO ./usr/bin/qcow2blk | file - | grep 'ARM aarch64'
    contains "$out/libqcow2blk0_$v-1_arm64.deb" /usr/lib/aarch64-linux-gnu/libqcow2blk.so.0
    expect "architecture of the rpm" aarch64 "$(rpm -qp --qf '%{ARCH}' "$out/qcow2blk-$v-1.aarch64.rpm")"
    rpm -qp --requires "$out/qcow2blk-libs-$v-1.aarch64.rpm" | grep -F 'libc.so.6(GLIBC_2.34)(64bit)'
    rpm -qp --requires "$out/qcow2blk-$v-1.aarch64.rpm" | grep -F 'ld-linux-aarch64.so.1'
    rpm -qp --provides "$out/qcow2blk-libs-$v-1.aarch64.rpm" | grep -F 'libqcow2blk.so.0(QCOW2BLK_0.1)(64bit)'
    lintian --allow-root --fail-on error,warning "$out"/*.deb
}
