package qcow2blk

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// benchmarkRead measures 4 KiB reads of what the host has cached, by that many goroutines for each processor.
func benchmarkRead(b *testing.B, goroutines int, read func(image *Image, p []byte, offset int64) (int, error)) {
	options, err := NewOptions()
	if err != nil {
		b.Fatal(err)
	}
	defer options.Close()
	if err := options.Set("cache", "writeback"); err != nil {
		b.Fatal(err)
	}
	image, err := Open(filepath.Join(os.Getenv("QCOW2BLK_TEST_IMAGES"), "plain.qcow2"), options, ReadOnly)
	if err != nil {
		b.Fatal(err)
	}
	defer image.Close()
	b.SetBytes(4096)
	b.SetParallelism(goroutines)
	var next atomic.Int64
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		p := make([]byte, 4096)
		for pb.Next() {
			if _, err := read(image, p, next.Add(1)%1024*4096); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkReadAt1(b *testing.B)  { benchmarkRead(b, 1, (*Image).ReadAt) }
func BenchmarkReadAt64(b *testing.B) { benchmarkRead(b, 64, (*Image).ReadAt) }

func BenchmarkDirectReadAt1(b *testing.B) {
	benchmarkRead(b, 1, func(image *Image, p []byte, offset int64) (int, error) { return image.Direct().ReadAt(p, offset) })
}

func BenchmarkDirectReadAt64(b *testing.B) {
	benchmarkRead(b, 64, func(image *Image, p []byte, offset int64) (int, error) { return image.Direct().ReadAt(p, offset) })
}
