package simulator

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

const maxBody = 1 << 20

// params are a request's parameters wherever they stand: query, urlencoded or
// multipart form, or the top level of a JSON object.
type params struct {
	url.Values
	raw []byte // a JSON body
}

func readParams(r *http.Request, keepJSON bool) (params, error) {
	p := params{Values: r.URL.Query()}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")) // unreadable: no form
	switch {
	case r.Body == nil:
	case kind == "application/x-www-form-urlencoded" && !keepJSON:
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
		if err != nil {
			return p, fmt.Errorf("read form: %w", err)
		}
		form, err := url.ParseQuery(string(body))
		p.merge(form)
		return p, err
	case kind == "multipart/form-data" && !keepJSON:
		if err := r.ParseMultipartForm(maxBody); err != nil {
			return p, fmt.Errorf("read form: %w", err)
		}
		p.merge(r.MultipartForm.Value)
		return p, r.MultipartForm.RemoveAll()
	default:
		return p, p.readJSON(r.Body, keepJSON)
	}
	return p, nil
}

func (p *params) merge(form url.Values) {
	for k, v := range form {
		p.Values[k] = v
	}
}

func (p *params) readJSON(body io.Reader, keep bool) error {
	raw, err := io.ReadAll(io.LimitReader(body, maxBody))
	if err != nil {
		return fmt.Errorf("read body: %w", err)
	}
	p.raw = raw
	if keep || len(raw) == 0 {
		return nil
	}
	var flat map[string]json.RawMessage
	if json.Unmarshal(raw, &flat) != nil {
		return nil // not parameters; what is missing will be said by name
	}
	for k, v := range flat {
		text := string(v)
		if s := ""; json.Unmarshal(v, &s) == nil {
			text = s
		}
		p.Set(k, text)
	}
	return nil
}

func (p params) text(names ...string) string {
	for _, n := range names {
		if v := strings.TrimSpace(p.Get(n)); v != "" {
			return v
		}
	}
	return ""
}

func (p params) has(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return p.text(n) == "" })
}

func (p params) number(names ...string) int {
	n, err := strconv.Atoi(p.text(names...))
	if err != nil {
		return 0
	}
	return n
}

func (p params) truth(name string) bool {
	b, err := strconv.ParseBool(p.text(name))
	return err == nil && b
}

func (p params) money(name string) (market.Rate, error) {
	r, err := market.ParseRate(p.text(name))
	if err != nil {
		return 0, refuseWith(http.StatusBadRequest, "bid", market.ClassRefused, "Invalid parameter: %s", name)
	}
	return r, nil
}

func (p params) server() string { return p.text("server", "server_id") }

// shapeOf reads the size of a machine.
func (p params) shapeOf() market.Shape {
	return market.Shape{
		GPUs: p.number("gpu_count"), VCPUs: p.number("vcpus"), RAM: p.number("ram"), Storage: p.number("storage"),
	}
}

// list reads a set: {1, 2}, [1, 2], ["a", "b"] or 1,2.
func (p params) list(name string) []string {
	text := strings.Trim(p.text(name), "{}[]() ")
	var out []string
	for _, s := range strings.Split(text, ",") {
		if s = strings.Trim(s, " \"'"); s != "" {
			out = append(out, s)
		}
	}
	return out
}

var errPorts = errors.New("external_ports and internal_ports must be sets of numbers of the same length")

// ports reads the port sets, of which the i-th external forwards to the i-th
// internal, or the documented fields external_port_22 and the like.
func (p params) ports() ([]market.PortForward, error) {
	ext, in := p.list("external_ports"), p.list("internal_ports")
	for name := range p.Values {
		if suffix, is := strings.CutPrefix(name, "external_port_"); is {
			ext = append(ext, p.text(name))
			in = append(in, cmp.Or(p.text("internal_port_"+suffix), suffix))
		}
	}
	if len(ext) != len(in) {
		return nil, errPorts
	}
	out := make([]market.PortForward, 0, len(ext))
	for i := range ext {
		e, err1 := strconv.Atoi(ext[i])
		n, err2 := strconv.Atoi(in[i])
		if err1 != nil || err2 != nil {
			return nil, errPorts
		}
		out = append(out, market.PortForward{External: e, Internal: n})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].External < out[j].External })
	return out, nil
}
