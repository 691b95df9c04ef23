package qcow2blk

import (
	"encoding/binary"
	"os"
	"testing"
)

// Where things are in a qcow2 file, for tests that damage one (qcow2 specification, "Header").
const l1TableOffsetField = 40

// l2Table is where the first L2 table lies.
func l2Table(t *testing.T, path string) int64 {
	t.Helper()
	l1 := number(t, path, l1TableOffsetField)
	return int64(number(t, path, int64(l1)) & 0x00fffffffffffe00)
}

func number(t *testing.T, path string, offset int64) uint64 {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	var bytes [8]byte
	_, err = file.ReadAt(bytes[:], offset)
	must(t, err)
	return binary.BigEndian.Uint64(bytes[:])
}

func patch(t *testing.T, path string, offset int64, bytes []byte) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	must(t, err)
	defer file.Close()
	_, err = file.WriteAt(bytes, offset)
	must(t, err)
}
