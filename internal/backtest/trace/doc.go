// Package trace reads recordings of spot markets and makes tapes of them. A file is
// told by its content: JSON is the free capacity of one host or zone per tick, CSV
// is the price changes of many hosts.
//
// It owns the formats and what has to be made up where a recording is silent:
// between two ticks, a change happens at a random second. It opens no file.
//
// Invariants:
//   - Whatever cannot be used is an error that names its place; nothing is skipped.
//   - The same files, terms and seed give the same tape, whatever the order of files.
package trace
