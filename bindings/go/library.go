package qcow2blk

/*
#include "shim.h"
*/
import "C"

import "fmt"

// LibraryVersion is a version of the library.
type LibraryVersion struct {
	Major, Minor, Patch int
}

// String is such as "0.1.0".
func (v LibraryVersion) String() string {
	return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
}

func versionOf(number uint32) LibraryVersion {
	return LibraryVersion{int(number >> 16 & 0xff), int(number >> 8 & 0xff), int(number & 0xff)}
}

// Version is that of the library that is loaded.
func Version() LibraryVersion { return versionOf(uint32(C.qcow2blk_version())) }

// BuildVersion is that of the header that this package was compiled with.
func BuildVersion() LibraryVersion { return versionOf(uint32(C.QCOW2BLK_VERSION)) }

// Features that HasFeature knows.
const (
	FeatureIOUring = "io_uring" // the kernel lets us use it; without it threads do the work
	FeatureUblk    = "ublk"     // block devices of that kind can be made here and now
	FeatureNBD     = "nbd"      // kernel NBD devices can be made here and now
	FeatureDeflate = "deflate"  // clusters compressed so can be read
	FeatureZstd    = "zstd"     // clusters compressed so can be read
)

// HasFeature says whether the library can do something on this machine. A name that it does not know gives false.
func HasFeature(name string) (bool, error) {
	const op = "feature"
	cName, err := cString(op, "the name", name)
	if err != nil {
		return false, err
	}
	defer freeString(cName)
	has, err := check(op, C.q2_has_feature(cName))
	return has == 1, err
}
