package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
)

func main() {
	if err := write(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func write(w io.Writer, args []string) error {
	if len(args) != 1 {
		return errors.New("want one argument, the binary")
	}
	binary, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(bomOf(info, sha256.Sum256(binary)))
}

// bom is a document of CycloneDX 1.6.
type bom struct {
	Schema       string       `json:"$schema"`
	Format       string       `json:"bomFormat"`
	SpecVersion  string       `json:"specVersion"`
	SerialNumber string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp,omitempty"`
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version"`
	PackageURL string     `json:"purl"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Licenses   []license  `json:"licenses,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type license struct {
	License struct {
		ID string `json:"id"`
	} `json:"license"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

// bomOf describes a binary with this digest. The compiler notes the modules that are
// linked in and not which of them needs which, so all hang on the program.
func bomOf(info *debug.BuildInfo, digest [sha256.Size]byte) bom {
	program := moduleComponent("application", &info.Main)
	program.Hashes = []hash{{"SHA-256", hex.EncodeToString(digest[:])}}
	program.Licenses = []license{{}}
	program.Licenses[0].License.ID = "Apache-2.0"
	doc := bom{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", SpecVersion: "1.6", Version: 1,
		SerialNumber: "urn:uuid:" + uuid(digest), Components: []component{standardLibrary(info.GoVersion)},
	}
	for _, s := range info.Settings {
		program.Properties = append(program.Properties, property{"build:" + s.Key, s.Value})
		if s.Key == "vcs.time" {
			doc.Metadata.Timestamp = s.Value
		}
	}
	for _, m := range info.Deps {
		doc.Components = append(doc.Components, moduleComponent("library", m))
	}
	needs := dependency{Ref: program.Ref}
	for i := range doc.Components {
		needs.DependsOn = append(needs.DependsOn, doc.Components[i].Ref)
	}
	doc.Metadata.Component, doc.Dependencies = program, []dependency{needs}
	return doc
}

func standardLibrary(version string) component {
	number, _, _ := strings.Cut(strings.TrimPrefix(version, "go"), " ") // experiments follow
	ref := "pkg:golang/std@" + number
	return component{Type: "library", Ref: ref, Name: "std", Version: number, PackageURL: ref}
}

// moduleComponent describes what was linked, which is the replacement where there is
// one.
func moduleComponent(kind string, m *debug.Module) component {
	if m.Replace != nil {
		m = m.Replace
	}
	ref := "pkg:golang/" + m.Path + "@" + strings.ReplaceAll(m.Version, "+", "%2B")
	c := component{Type: kind, Ref: ref, Name: m.Path, Version: m.Version, PackageURL: ref}
	// go.sum's hash is one of the module's files and their names.
	if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:")); err == nil && len(sum) == sha256.Size {
		c.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum)}}
	}
	return c
}

// uuid is one of version 8, which leaves its bits to us: a digest's.
func uuid(digest [sha256.Size]byte) string {
	b := digest
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
