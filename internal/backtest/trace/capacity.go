package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Bounds of a capacity trace: beyond them a file is broken, and arithmetic unsafe.
const (
	maxGPUs = 1_000_000
	maxGap  = 366 * 24 * time.Hour
)

// readZone reads {"metadata":{"gap_seconds":N},"data":[ints]}. Other keys are
// somebody's notes.
func (t *Trace) readZone(f *File) error {
	name := path.Base(filepath.ToSlash(f.Name))
	z := zoneReader{file: f, Zone: Zone{Name: strings.TrimSuffix(name, path.Ext(name)), file: f.Name}}
	z.dec = json.NewDecoder(bytes.NewReader(f.Data))
	z.dec.UseNumber()
	if err := z.read(); err != nil {
		return err
	}
	t.Zones = append(t.Zones, z.Zone)
	return nil
}

// zoneReader walks the file by its tokens, so that every error has a line.
type zoneReader struct {
	Zone
	file *File
	dec  *json.Decoder
	seen bool // data
}

// errorf is an error at the token that was read last.
func (z *zoneReader) errorf(format string, args ...any) error {
	read := z.file.Data[:min(z.dec.InputOffset(), int64(len(z.file.Data)))]
	return place{z.file.Name, 1 + bytes.Count(read, []byte("\n"))}.errorf(format, args...)
}

func (z *zoneReader) token() (json.Token, error) {
	tok, err := z.dec.Token()
	var syntax *json.SyntaxError
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, z.errorf("the file ends in the middle")
	case errors.As(err, &syntax):
		rest := z.file.Data[min(z.dec.InputOffset(), int64(len(z.file.Data))):]
		before := len(z.file.Data) - len(bytes.TrimLeft(rest, " \t\r\n,:")) // up to what is wrong
		return nil, place{z.file.Name, 1 + bytes.Count(z.file.Data[:before], []byte("\n"))}.errorf("not JSON: %w", err)
	case err != nil:
		return nil, z.errorf("not JSON: %w", err)
	}
	return tok, nil
}

func (z *zoneReader) read() error {
	err := z.object("the file", func(key string) error {
		switch key {
		case "metadata":
			return z.object(key, z.metadata)
		case "data":
			return z.data()
		}
		return z.skip()
	})
	switch {
	case err != nil:
		return err
	case !z.seen:
		return z.errorf(`"data" is missing`)
	case len(z.Free) == 0:
		return z.errorf(`"data" is empty`)
	}
	if _, err := z.dec.Token(); !errors.Is(err, io.EOF) {
		return z.errorf("something follows the closing brace")
	}
	return nil
}

// object reads an object, handing over its keys.
func (z *zoneReader) object(what string, member func(key string) error) error {
	tok, err := z.token()
	if err != nil {
		return err
	}
	if tok != json.Delim('{') {
		return z.errorf("%s is %v, not an object", what, tok)
	}
	for z.dec.More() {
		key, err := z.token()
		if err != nil {
			return err
		}
		if err := member(fmt.Sprint(key)); err != nil {
			return err
		}
	}
	_, err = z.token()
	return err
}

func (z *zoneReader) skip() error {
	for depth := 0; ; {
		tok, err := z.token()
		if err != nil {
			return err
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
	}
}

func (z *zoneReader) metadata(key string) error {
	if key != "gap_seconds" {
		return z.skip()
	}
	tok, err := z.token()
	if err != nil {
		return err
	}
	n, ok := tok.(json.Number)
	if !ok {
		return z.errorf("gap_seconds is %v, not a number", tok)
	}
	nano, err := market.ParseNano(n.String(), market.RoundDown)
	if err != nil {
		return z.errorf("gap_seconds is %v: %w", tok, err)
	}
	if z.Gap = time.Duration(nano); z.Gap < time.Second || z.Gap > maxGap || z.Gap%time.Second != 0 {
		return z.errorf("gap_seconds is %v: whole seconds from 1 to a year", tok)
	}
	return nil
}

func (z *zoneReader) data() error {
	tok, err := z.token()
	switch {
	case err != nil:
		return err
	case tok != json.Delim('['):
		return z.errorf(`"data" is %v, not a list`, tok)
	case z.seen:
		return z.errorf(`"data" is there twice`)
	}
	z.seen = true
	for z.dec.More() {
		if tok, err = z.token(); err != nil {
			return err
		}
		n, err := gpus(tok)
		if err != nil {
			return z.errorf("data[%d] %w", len(z.Free), err)
		}
		z.Free = append(z.Free, n)
	}
	_, err = z.token()
	return err
}

func gpus(tok json.Token) (int, error) {
	num, ok := tok.(json.Number)
	if !ok {
		if tok == nil {
			tok = "null"
		}
		return 0, fmt.Errorf("is %v, not a number of GPUs", tok)
	}
	n, err := strconv.Atoi(num.String())
	switch {
	case err != nil:
		return 0, fmt.Errorf("is %s, not a whole number of GPUs", num)
	case n < 0:
		return 0, fmt.Errorf("is %d: it cannot be negative", n)
	case n > maxGPUs:
		return 0, fmt.Errorf("is %d: more than %d GPUs", n, maxGPUs)
	}
	return n, nil
}
