#!/bin/bash
# Runs the tests of bindings/python and the program of its README. The last line is "python: N passed, N failed".
# (tests/abi/run.sh calls it and sets the environment.)
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
log=$(mktemp)
folder=$(mktemp -d)
trap 'rm -rf "$log" "$folder"' EXIT

/usr/bin/python3 -W error -B -m unittest discover -v -s bindings/python/tests 2>&1 | tee "$log"
all=$(sed -n 's/^Ran \([0-9]*\) tests\? in .*/\1/p' "$log")
failed=$(grep -cE '^(FAIL|ERROR): ' "$log")

echo "the program of README.md"
sed -n '/^```python$/,/^```$/p' bindings/python/README.md | sed '1d; /^```$/,$d' >"$folder/copy.py"
qemu-img create -q -f qcow2 "$folder/to.qcow2" 64M
if [ "$(wc -l <"$folder/copy.py")" -lt 30 ] &&
   PYTHONPATH=bindings/python /usr/bin/python3 -B "$folder/copy.py" "$QCOW2BLK_TEST_IMAGES/compressed.qcow2" "$folder/to.qcow2" &&
   qemu-img compare -f qcow2 -F qcow2 "$QCOW2BLK_TEST_IMAGES/compressed.qcow2" "$folder/to.qcow2"; then
    all=$((all + 1))
else
    all=$((all + 1)) failed=$((failed + 1))
    echo "FAIL: the program of README.md, which has $(wc -l <"$folder/copy.py") lines"
fi
echo "python: $((all - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
