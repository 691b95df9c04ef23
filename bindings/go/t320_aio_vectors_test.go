package qcow2blk

import (
	"bytes"
	"syscall"
	"testing"
)

func Test320AioVectorsAreFilledOneAfterTheOther(t *testing.T) {
	image, _ := openCopy(t, "plain.qcow2")
	buffers := vectorOf(0xee, 1, 0, 64*kib, 3, 100*kib)
	done, ended := ends()
	must(t, image.Async().ReadVAt(buffers, 64*kib-1, done))
	end := receive(t, "the read", ended)
	must(t, end.err)
	want(t, "bytes read", int64(end.n), 164*kib+4)
	wantBytes(t, bytes.Join(buffers, nil), plainBytes(64*kib-1, 164*kib+4))
}

func Test320AioVectorsAreWrittenOneAfterTheOther(t *testing.T) {
	image, path := openCopy(t, "empty.qcow2")
	done, ended := ends()
	must(t, image.Async().WriteVAt([][]byte{filled(1, 100), nil, filled(2, 64*kib), filled(3, 7)}, 50, FUA, done))
	end := receive(t, "the write", ended)
	must(t, end.err)
	want(t, "bytes written", int64(end.n), 64*kib+107)
	must(t, image.Close())
	qemuIO(t, path, "read -P 0 0 50", "read -P 1 50 100", "read -P 2 150 64k", "read -P 3 65686 7", "read -P 0 65693 9")
}

func Test320AioVectorsAreAtMost1024(t *testing.T) {
	image, _ := openCopy(t, "empty.qcow2")
	buffers := make([][]byte, mostBuffers+1)
	for n := range buffers {
		buffers[n] = []byte{1}
	}
	never := func(int, error) { t.Error("it was called") }
	wantErrno(t, image.Async().ReadVAt(buffers, 0, never), syscall.EINVAL)
	wantErrno(t, image.Async().WriteVAt(buffers, 0, 0, never), syscall.EINVAL)
	done, ended := ends()
	must(t, image.Async().ReadVAt(buffers[1:], 0, done))
	want(t, "bytes read", receive(t, "the read", ended).n, mostBuffers)
}

func Test320AioVectorsOfNothingSucceed(t *testing.T) {
	image, _ := openCopy(t, "empty.qcow2")
	done, ended := ends()
	must(t, image.Async().ReadVAt(nil, 0, done))
	end := receive(t, "the read", ended)
	must(t, end.err)
	want(t, "bytes read", end.n, 0)
}
