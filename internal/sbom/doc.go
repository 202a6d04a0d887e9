// Command sbom writes the bill of materials of a Go binary, as CycloneDX JSON, from
// what the compiler wrote into the binary itself.
//
// It owns the form of that document. It must not look anything up: what is not in the
// binary is not told. The same binary gives the same bytes.
package main
