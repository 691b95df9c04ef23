package qcow2blk

import (
	"bytes"
	"context"
	"io"
	"syscall"
	"testing"
)

// vectorOf is buffers of these lengths, all of one value.
func vectorOf(value byte, lengths ...int64) [][]byte {
	var buffers [][]byte
	for _, length := range lengths {
		buffers = append(buffers, filled(value, length))
	}
	return buffers
}

func Test220VectorsAreFilledOneAfterTheOther(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	for _, read := range []func([][]byte, int64) (int, error){image.ReadVAt, image.Direct().ReadVAt} {
		buffers := vectorOf(0xee, 1, 0, 64*kib, 3, 100*kib)
		n, err := read(buffers, 64*kib-1)
		must(t, err)
		want(t, "bytes read", int64(n), 164*kib+4)
		wantBytes(t, bytes.Join(buffers, nil), plainBytes(64*kib-1, 164*kib+4))
	}
}

func Test220VectorsAreWrittenOneAfterTheOther(t *testing.T) {
	image, path := openCopy(t, "empty.qcow2")
	buffers := [][]byte{filled(1, 100), nil, filled(2, 64*kib), filled(3, 7)}
	n, err := image.WriteVAt(buffers, 0)
	must(t, err)
	want(t, "bytes written", int64(n), 64*kib+107)
	_, err = image.WriteVAtContext(context.Background(), buffers, mib, FUA)
	must(t, err)
	_, err = image.Direct().WriteVAt(buffers, 2*mib, FUA)
	must(t, err)
	must(t, image.Close())
	for _, at := range []string{"0", "1048576", "2097152"} {
		qemuIO(t, path, "read -P 1 "+at+" 100")
	}
	qemuIO(t, path, "read -P 2 100 64k", "read -P 3 65636 7", "read -P 2 1048676 64k", "read -P 3 1114212 7",
		"read -P 2 2097252 64k", "read -P 3 2162788 7")
}

func Test220VectorsMayBeMoreThanOneRequestTakes(t *testing.T) {
	image, _ := openCopy(t, "empty.qcow2")
	var buffers [][]byte
	for n := 0; n < 3*mostBuffers; n++ {
		buffers = append(buffers, filled(byte(n), 5))
	}
	buffers = append(buffers, filled(0xab, 9*mib))
	wanted := bytes.Join(buffers, nil)
	n, err := image.WriteVAt(buffers, 11)
	must(t, err)
	want(t, "bytes written", n, len(wanted))
	wantBytes(t, readAt(t, image, 11, int64(len(wanted))), wanted)

	for _, buffer := range buffers {
		copy(buffer, filled(0, int64(len(buffer))))
	}
	n, err = image.ReadVAt(buffers, 11)
	must(t, err)
	want(t, "bytes read", n, len(wanted))
	wantBytes(t, bytes.Join(buffers, nil), wanted)
}

func Test220VectorsOfADirectCallAreAtMost1024(t *testing.T) {
	image, _ := openCopy(t, "empty.qcow2")
	buffers := make([][]byte, mostBuffers+1)
	for n := range buffers {
		buffers[n] = []byte{1}
	}
	_, err := image.Direct().ReadVAt(buffers, 0)
	wantErrno(t, err, syscall.EINVAL)
	_, err = image.Direct().WriteVAt(buffers, 0, 0)
	wantErrno(t, err, syscall.EINVAL)
	n, err := image.Direct().WriteVAt(buffers[1:], 0, 0)
	must(t, err)
	want(t, "bytes written", n, mostBuffers)
}

func Test220VectorsAtTheEndAreShort(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	buffers := vectorOf(0xee, 100, 100, 100)
	n, err := image.ReadVAt(buffers, 64*mib-150)
	want(t, "bytes read", n, 150)
	want(t, "error is EOF", err == io.EOF, true)
	wantBytes(t, bytes.Join(buffers, nil), append(filled(0, 150), filled(0xee, 150)...))
	n, err = image.WriteVAt(buffers, 64*mib-150)
	want(t, "bytes written", n, 0)
	wantErrno(t, err, syscall.EINVAL)
}

func Test220VectorsOfNothingSucceed(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	for _, buffers := range [][][]byte{nil, {nil}, {{}, {}}} {
		n, err := image.ReadVAt(buffers, 0)
		must(t, err)
		want(t, "bytes read", n, 0)
		n, err = image.WriteVAt(buffers, 0)
		must(t, err)
		want(t, "bytes written", n, 0)
	}
}
