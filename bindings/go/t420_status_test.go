package qcow2blk

import (
	"encoding/json"
	"os"
	"syscall"
	"testing"
	"time"
)

func Test420StatusTellsOfTheDevice(t *testing.T) {
	device := attach(t, "overlay.qcow2", "name", "disk420")
	nbdIO(t, device.uri, "write -P 1 0 64k", "read 0 128k")
	status, err := device.Status()
	must(t, err)
	want(t, "name", status.Name, "disk420")
	want(t, "state", status.State, "running")
	want(t, "image", status.Image, device.path)
	want(t, "uri", status.URI, device.uri)
	want(t, "device", status.Device, "")
	want(t, "process", status.PID, os.Getpid())
	want(t, "size", status.Geometry.Size, 16*mib)
	want(t, "files", len(status.Chain), 2)
	if age := time.Since(status.Started); age < -time.Second || age > time.Minute {
		t.Errorf("it was started at %v", status.Started)
	}
	if status.Requests.WrittenBytes < 64*kib || status.Requests.ReadBytes < 128*kib {
		t.Errorf("requests: %+v", status.Requests)
	}
}

func Test420StatusIsJSON(t *testing.T) {
	device := attach(t, "plain.qcow2")
	document, err := device.StatusJSON()
	must(t, err)
	var members map[string]json.RawMessage
	must(t, json.Unmarshal([]byte(document), &members))
	for _, name := range []string{"name", "state", "image", "uri", "pid", "geometry", "chain", "requests"} {
		if _, has := members[name]; !has {
			t.Errorf("no member %q in %s", name, document)
		}
	}
}

func Test420StatusFollowsTheState(t *testing.T) {
	device := attach(t, "plain.qcow2")
	must(t, device.Suspend(DefaultTimeout))
	status, err := device.Status()
	must(t, err)
	want(t, "state", status.State, StateSuspended.String())
	if status.Cache != nil {
		t.Errorf("the cache is %+v", status.Cache)
	}
}

func Test420StatusOfAnEndedDevice(t *testing.T) {
	device := attach(t, "plain.qcow2")
	must(t, device.Detach(DefaultTimeout, 0))
	_, err := device.StatusJSON()
	wantErrno(t, err, syscall.ESRCH)
	_, err = device.Status()
	wantErrno(t, err, syscall.ESRCH)
}
