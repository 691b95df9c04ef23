package qcow2blk

/*
#include "shim.h"
*/
import "C"

import "runtime/cgo"

// CreateFlags say how an image is made.
type CreateFlags uint32

// Replace, of a new image: replace a file that is there already, or overwrite a block device.
const Replace CreateFlags = C.QCOW2BLK_CREATE_REPLACE

// BackingSize stands for the size of the backing file, or for what the option "size" says.
const BackingSize int64 = -1

// Create makes an image of size bytes. The options are those after "-o" of "qcow2blk create", such as "cluster_size" and
// "backing_file", and a key if it is to be encrypted. If it fails nothing has changed, except on a block device.
func Create(path string, size int64, options *Options, flags CreateFlags) error {
	const op = "create"
	number, done, err := options.borrow(op)
	if err != nil {
		return err
	}
	defer done()
	cPath, err := cString(op, "the path", path)
	if err != nil {
		return err
	}
	defer freeString(cPath)
	return checked(op, C.q2_create(cPath, C.int64_t(size), number, C.uint32_t(flags)))
}

// CheckFlags say what a check does.
type CheckFlags uint32

const (
	// RepairLeaks: give lost space back, and change nothing else.
	RepairLeaks CheckFlags = C.QCOW2BLK_CHECK_REPAIR_LEAKS
	// RepairAll: repair all that can be repaired.
	RepairAll CheckFlags = C.QCOW2BLK_CHECK_REPAIR_ALL
	// IgnoreLocks: look at an image that somebody is writing. The findings may be wrong.
	IgnoreLocks CheckFlags = C.QCOW2BLK_CHECK_IGNORE_LOCKS
)

// CheckVerdict is what a check says of an image as it is afterwards.
type CheckVerdict int

// The verdicts are the exit codes of "qemu-img check".
const (
	CheckClean      CheckVerdict = C.QCOW2BLK_CHECK_CLEAN
	CheckIncomplete CheckVerdict = C.QCOW2BLK_CHECK_INCOMPLETE // something could not be looked at, or be repaired
	CheckCorrupt    CheckVerdict = C.QCOW2BLK_CHECK_CORRUPT    // there are errors
	CheckLeaking    CheckVerdict = C.QCOW2BLK_CHECK_LEAKING    // there are leaks and no errors
)

// String is a word for it.
func (v CheckVerdict) String() string {
	return wordOf(int(v), "clean", "incomplete", "corrupt", "leaking")
}

// CheckResult is what a check found; the numbers are those of "qemu-img check".
type CheckResult struct {
	Verdict            CheckVerdict
	CheckErrors        int64 // clusters that could not be looked at
	Corruptions        int64 // errors that are left
	Leaks              int64 // lost clusters that are left
	CorruptionsFixed   int64
	LeaksFixed         int64
	ImageEndOffset     int64 // bytes: where the last cluster in use ends in the file
	TotalClusters      int64 // of the disk
	AllocatedClusters  int64
	FragmentedClusters int64
	CompressedClusters int64
}

// CheckReportKind is what a CheckReport is about.
type CheckReportKind int

// What a check tells while it works.
const (
	ReportProgress CheckReportKind = C.QCOW2BLK_CHECK_PROGRESS // Message is what is being done, Done the part of it that is
	ReportLeak     CheckReportKind = C.QCOW2BLK_CHECK_LEAK     // a finding: space is lost
	ReportError    CheckReportKind = C.QCOW2BLK_CHECK_ERROR    // a finding: an error
	ReportStopped  CheckReportKind = C.QCOW2BLK_CHECK_STOPPED  // why the check, or the repair, ended early
)

// CheckReport is something that a check tells.
type CheckReport struct {
	Kind    CheckReportKind
	Message string
	Done    float64 // 0 to 1, of progress
}

// Check checks the metadata of an image file, and repairs it if the flags say so. report, which may be nil, hears progress
// and findings, on any thread, and must not call this package. An encrypted image needs no key.
func Check(path string, flags CheckFlags, report func(CheckReport)) (CheckResult, error) {
	const op = "check"
	cPath, err := cString(op, "the path", path)
	if err != nil {
		return CheckResult{}, err
	}
	defer freeString(cPath)
	var number cgo.Handle
	if report != nil {
		number = cgo.NewHandle(report)
		defer number.Delete()
	}
	found := C.struct_qcow2blk_check_result{size: C.sizeof_struct_qcow2blk_check_result}
	verdict, err := check(op, C.q2_check(cPath, &found, C.uintptr_t(number), C.uint32_t(flags)))
	if err != nil {
		return CheckResult{}, err
	}
	return CheckResult{
		Verdict:            CheckVerdict(verdict),
		CheckErrors:        int64(found.check_errors),
		Corruptions:        int64(found.corruptions),
		Leaks:              int64(found.leaks),
		CorruptionsFixed:   int64(found.corruptions_fixed),
		LeaksFixed:         int64(found.leaks_fixed),
		ImageEndOffset:     int64(found.image_end_offset),
		TotalClusters:      int64(found.total_clusters),
		AllocatedClusters:  int64(found.allocated_clusters),
		FragmentedClusters: int64(found.fragmented_clusters),
		CompressedClusters: int64(found.compressed_clusters),
	}, nil
}

//export goCheckTells
func goCheckTells(number C.uintptr_t, kind C.int, message *C.char, done C.double) {
	// A panic must not pass through frames of the library.
	defer func() { _ = recover() }()
	cgo.Handle(number).Value().(func(CheckReport))(CheckReport{CheckReportKind(kind), C.GoString(message), float64(done)})
}
