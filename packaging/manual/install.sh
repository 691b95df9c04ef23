#!/bin/bash
# Installs the pages that build.py has made, and the HTML if there is any.
# Usage: packaging/manual/install.sh BUILT MANDIR HTMLDIR
set -euo pipefail
built=$1 mandir=$2 htmldir=$3
for page in "$built"/man?/*; do
    section=$(basename "$(dirname "$page")")
    install -D -m 0644 "$page" "$mandir/$section/$(basename "$page")"
done
[ -d "$built/html" ] || exit 0
install -d "$htmldir"
install -m 0644 "$built"/html/* "$htmldir"
