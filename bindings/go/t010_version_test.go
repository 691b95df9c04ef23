package qcow2blk

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func Test010VersionOfTheLibraryIsThatOfTheHeader(t *testing.T) {
	want(t, "version", Version(), BuildVersion())
	want(t, "version", Version().String(), "0.1.0")
}

func Test010FeaturesThatAreAlwaysThere(t *testing.T) {
	for _, name := range []string{FeatureDeflate, FeatureZstd} {
		has, err := HasFeature(name)
		must(t, err)
		want(t, name, has, true)
	}
	for _, name := range []string{FeatureIOUring, FeatureUblk, FeatureNBD} {
		_, err := HasFeature(name)
		must(t, err)
	}
}

func Test010FeatureThatIsUnknownIsNotThere(t *testing.T) {
	for _, name := range []string{"", "time-travel"} {
		has, err := HasFeature(name)
		must(t, err)
		want(t, name, has, false)
	}
}

// What the header says, the binding has: a function that is added there fails here.
func Test010EveryFunctionOfTheHeaderIsBound(t *testing.T) {
	header := readText(t, "../../include/qcow2blk.h")
	binding := readText(t, "shim.c") + strings.ReplaceAll(readText(t, "library.go"), "C.", "")
	functions := regexp.MustCompile(`(?m)^QCOW2BLK_API [^(]*?(qcow2blk_\w+) \(`).FindAllStringSubmatch(header, -1)
	if len(functions) < 53 {
		t.Fatalf("found only %d functions in the header", len(functions))
	}
	for _, function := range functions {
		if !regexp.MustCompile(`\b` + function[1] + ` ?\(`).MatchString(binding) {
			t.Errorf("%s is not bound", function[1])
		}
	}
}

// And the shim has nothing that Go does not call.
func Test010EveryFunctionOfTheShimIsCalled(t *testing.T) {
	all := ""
	files, err := os.ReadDir(".")
	must(t, err)
	for _, file := range files {
		if strings.HasSuffix(file.Name(), ".go") && !strings.HasSuffix(file.Name(), "_test.go") {
			all += readText(t, file.Name())
		}
	}
	functions := regexp.MustCompile(`(?m)^q2_result (q2_\w+)`).FindAllStringSubmatch(readText(t, "shim.h"), -1)
	if len(functions) < 50 {
		t.Fatalf("found only %d functions in shim.h", len(functions))
	}
	for _, function := range functions {
		if !strings.Contains(all, "C."+function[1]+"(") {
			t.Errorf("%s is not called", function[1])
		}
	}
}

// The program of the README compiles outside this module, and does what is said.
func Test010VersionOfTheReadmeIsAProgramThatWorks(t *testing.T) {
	program := regexp.MustCompile("(?s)```go\n(package main.*?)```").FindStringSubmatch(readText(t, "README.md"))
	if program == nil {
		t.Fatal("the README has no program")
	}
	if lines := strings.Count(program[1], "\n"); lines >= 30 {
		t.Errorf("it has %d lines", lines)
	}
	module, err := os.Getwd()
	must(t, err)
	folder := t.TempDir()
	binary := filepath.Join(folder, "program")
	must(t, os.WriteFile(filepath.Join(folder, "main.go"), []byte(program[1]), 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "go.mod"), []byte("module example\n\ngo 1.19\n"), 0o600))
	runIn(t, folder, "go", "mod", "edit", "-require=qcow2blk@v0.1.0", "-replace=qcow2blk="+module)
	runIn(t, folder, "go", "build", "-o", binary, ".")
	wantBytes(t, []byte(run(t, binary, copyOf(t, "overlay.qcow2")))[:mib],
		append(append(append(filled(0x11, 512*kib), filled(0x22, 256*kib)...), filled(0, 64*kib)...), filled(0x11, 192*kib)...))
}

func readText(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	must(t, err)
	return string(content)
}
