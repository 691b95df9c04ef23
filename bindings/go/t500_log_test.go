package qcow2blk

import (
	"strings"
	"sync"
	"syscall"
	"testing"
)

// logLines collects the log until the test ends.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func collectLog(t *testing.T, level LogLevel) *logLines {
	t.Helper()
	collected := &logLines{}
	must(t, SetLog(level, func(level LogLevel, message string) {
		collected.mu.Lock()
		defer collected.mu.Unlock()
		collected.lines = append(collected.lines, level.String()+": "+message)
	}))
	t.Cleanup(func() { must(t, SetLog(LogError, nil)) })
	return collected
}

func (l *logLines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

// readCorrupt reads an image whose first L2 entry points into the middle of a cluster. That is noticed when it is read, and told of by
// the close too.
func readCorrupt(t *testing.T) {
	t.Helper()
	path := copyOf(t, "plain.qcow2")
	patch(t, path, l2Table(t, path), []byte{0x80, 0, 0, 0, 0, 0, 0x02, 0})
	image, err := Open(path, nil, 0)
	must(t, err)
	_, err = image.ReadAt(make([]byte, 512), 0)
	wantErrno(t, err, syscall.EIO)
	wantErrno(t, image.Close(), syscall.EIO)
}

func Test500LogTellsWhatNoResultTells(t *testing.T) {
	collected := collectLog(t, LogDebug)
	readCorrupt(t)
	eventually(t, "the log tells of it", func() bool { return strings.Contains(collected.all(), "error: ") })
	for _, line := range strings.Split(collected.all(), "\n") {
		if strings.TrimSpace(line) == "" {
			t.Errorf("an empty line in %q", collected.all())
		}
	}
}

func Test500LogLeavesOutWhatMattersLess(t *testing.T) {
	collected := collectLog(t, LogError)
	readCorrupt(t)
	for _, line := range strings.Split(collected.all(), "\n") {
		if line != "" && !strings.HasPrefix(line, "error: ") {
			t.Errorf("the log has %q", line)
		}
	}
}

func Test500LogEnds(t *testing.T) {
	collected := collectLog(t, LogDebug)
	must(t, SetLog(LogDebug, nil))
	readCorrupt(t)
	want(t, "log", collected.all(), "")
}

func Test500LogHasFourLevels(t *testing.T) {
	wantErrno(t, SetLog(LogDebug+1, func(LogLevel, string) {}), syscall.EINVAL)
	wantErrno(t, SetLog(-1, func(LogLevel, string) {}), syscall.EINVAL)
	want(t, "words", LogError.String()+LogWarning.String()+LogInfo.String()+LogDebug.String(), "errorwarninginfodebug")
	want(t, "a level to come", LogLevel(7).String(), "7")
}

// Refused, the former function goes on.
func Test500LogThatIsRefusedChangesNothing(t *testing.T) {
	collected := collectLog(t, LogDebug)
	wantErrno(t, SetLog(17, nil), syscall.EINVAL)
	readCorrupt(t)
	eventually(t, "the log goes on", func() bool { return collected.all() != "" })
}
