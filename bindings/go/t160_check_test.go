package qcow2blk

import (
	"os"
	"syscall"
	"testing"
)

func Test160CheckOfASoundImage(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	result, err := Check(path, 0, nil)
	must(t, err)
	want(t, "verdict", result.Verdict, CheckClean)
	want(t, "clusters", result.AllocatedClusters, 64)
	want(t, "leaks and errors", result.Leaks+result.Corruptions+result.CheckErrors, 0)
	_, err = Check(source(t, "raw.img"), 0, nil)
	wantErrno(t, err, syscall.EOPNOTSUPP)
	_, err = Check(path, RepairAll|IgnoreLocks, nil)
	wantErrno(t, err, syscall.EINVAL)
	image := openPath(t, path, nil, 0)
	_, err = Check(path, 0, nil)
	wantErrno(t, err, syscall.EBUSY)
	_, err = Check(path, IgnoreLocks, nil)
	must(t, err)
	must(t, image.Close())
}

// The L2 table of the first clusters is not counted as used.
func Test160CheckFindsAndRepairs(t *testing.T) {
	path := copyOf(t, "plain.qcow2")
	file, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	_, err = file.WriteAt([]byte{0, 0}, 2*64*kib+2*8)
	must(t, err)
	must(t, file.Close())
	reports := map[CheckReportKind]int{}
	result, err := Check(path, 0, func(report CheckReport) { reports[report.Kind]++ })
	must(t, err)
	want(t, "verdict", result.Verdict, CheckCorrupt)
	want(t, "word", result.Verdict.String(), "corrupt")
	if reports[ReportError] == 0 {
		t.Errorf("no error was told: %v", reports)
	}
	result, err = Check(path, RepairAll, func(CheckReport) { panic("it must not get out") })
	must(t, err)
	want(t, "verdict", result.Verdict, CheckClean)
	if result.CorruptionsFixed == 0 {
		t.Error("nothing was repaired")
	}
	mustCheck(t, path)
}
