package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestTheBillOfABinaryNamesWhatItWasLinkedFrom(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var first, second bytes.Buffer
	for _, w := range []*bytes.Buffer{&first, &second} {
		if err := write(w, []string{self}); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("two bills of one binary differ")
	}
	var doc bom
	dec := json.NewDecoder(&first)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if doc.Format != "CycloneDX" || doc.SpecVersion != "1.6" || doc.Version != 1 {
		t.Errorf("%+v", doc)
	}
	if !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(doc.SerialNumber) {
		t.Errorf("serial number %q", doc.SerialNumber)
	}
	if p := doc.Metadata.Component; p.Name != "github.com/tdscaler/tdscaler" || p.Type != "application" || len(p.Hashes[0].Content) != 64 {
		t.Errorf("the program: %+v", p)
	}
	if std := doc.Components[0]; std.Name != "std" || std.Version != strings.TrimPrefix(runtime.Version(), "go") {
		t.Errorf("the standard library: %+v", std)
	}
	refs(t, &doc)
}

// refs checks that each component has one reference, which the program depends on.
func refs(t *testing.T, doc *bom) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range doc.Components {
		if seen[c.Ref] || c.Version == "" || c.Type != "library" {
			t.Errorf("%+v", c)
		}
		seen[c.Ref] = true
	}
	if len(doc.Dependencies) != 1 || doc.Dependencies[0].Ref != doc.Metadata.Component.Ref || len(doc.Dependencies[0].DependsOn) != len(seen) {
		t.Fatalf("%+v", doc.Dependencies)
	}
	for _, r := range doc.Dependencies[0].DependsOn {
		if !seen[r] {
			t.Errorf("%s is depended on and not described", r)
		}
	}
}

func TestAReplacedModuleIsToldAsWhatWasLinked(t *testing.T) {
	info := &debug.BuildInfo{
		GoVersion: "go1.26.8 X:nodwarf5", Main: debug.Module{Path: "example.com/p", Version: "v1.2.3"},
		Settings: []debug.BuildSetting{{Key: "vcs.time", Value: "2026-11-22T18:00:00Z"}, {Key: "CGO_ENABLED", Value: "0"}},
		Deps: []*debug.Module{
			{Path: "example.com/a", Version: "v1.0.0", Sum: "h1:" + "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
			{Path: "example.com/b", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v9.0.0+incompatible", Sum: "h1:short"}},
		},
	}
	doc := bomOf(info, sha256.Sum256([]byte("binary")))
	if doc.Metadata.Timestamp != "2026-11-22T18:00:00Z" || doc.Metadata.Component.Properties[1] != (property{"build:CGO_ENABLED", "0"}) {
		t.Errorf("%+v", doc.Metadata)
	}
	want := []string{"pkg:golang/std@1.26.8", "pkg:golang/example.com/a@v1.0.0", "pkg:golang/example.com/fork@v9.0.0%2Bincompatible"}
	for i, c := range doc.Components {
		if c.PackageURL != want[i] {
			t.Errorf("component %d is %s, want %s", i, c.PackageURL, want[i])
		}
	}
	if h := doc.Components[1].Hashes; len(h) != 1 || h[0].Content != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Errorf("the hash of go.sum: %+v", h)
	}
	if h := doc.Components[2].Hashes; h != nil {
		t.Errorf("a hash out of nothing: %+v", h)
	}
}

func TestWhatIsNoGoBinaryHasNoBill(t *testing.T) {
	for _, args := range [][]string{{}, {"a", "b"}, {"main_test.go"}, {"missing"}} {
		if err := write(&bytes.Buffer{}, args); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
