package tensordock

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/tdscaler/tdscaler/internal/market"
)

// decoders of each API, by the first byte of a fuzzed input.
var (
	v0Decoders = []func(value) (any, error){
		func(v value) (any, error) { return decodeHosts(v) },
		func(v value) (any, error) { return decodeHostAnswer(v, "id") },
		func(v value) (any, error) { return decodeInstances(v) },
		func(v value) (any, error) { return decodeInstanceAnswer(v, "id") },
		func(v value) (any, error) { return decodeDeployed(v) },
		func(v value) (any, error) { return decodeVerdict(v) },
		func(v value) (any, error) { return decodeBalance(v) },
		func(v value) (any, error) { return decodeInstant(v) },
		func(v value) (any, error) { return decodeReplicas(v) },
		func(v value) (any, error) { return decodeStatement(v) },
		func(v value) (any, error) { return decodeRevenue(v) },
		func(v value) (any, error) { return decodeAuthorizations(v) },
	}
	v2Decoders = []func(value) (any, error){
		func(v value) (any, error) { return decodeInstancesV2(v) },
		func(v value) (any, error) { return decodeInstanceV2(v, "id") },
		func(v value) (any, error) { return decodeCreated(v) },
		func(v value) (any, error) { return decodeLocations(v) },
	}
)

func FuzzDecodeV0(f *testing.F) { fuzzDecoders(f, v0Decoders) }
func FuzzDecodeV2(f *testing.F) { fuzzDecoders(f, v2Decoders) }

// fuzzDecoders holds what must be true of any answer: no decoder panics; no error
// shows a secret, or more than one printable line; and what is made of an answer
// holds no machine that is not in it, no negative money, no size below zero and
// nothing that a terminal would obey.
func fuzzDecoders(f *testing.F, decoders []func(value) (any, error)) {
	for _, dir := range []string{"testdata", os.Getenv("TDSCALER_PAYLOADS")} {
		files, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil || dir == "" {
			continue
		}
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			for i := range decoders {
				f.Add(byte(i), b)
			}
		}
	}
	f.Add(byte(2), []byte(`{"virtualmachines":{"a\u0062":{"cost":"1e5"}}}`))
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		fuzzErrors(t, body)
		v, ok := parse(body)
		if !ok {
			return
		}
		got, err := decoders[int(which)%len(decoders)](v)
		if err != nil {
			return
		}
		switch x := got.(type) {
		case []market.Instance:
			for i := range x {
				fuzzMachine(t, body, &x[i])
				if i > 0 && x[i-1].ID >= x[i].ID {
					t.Fatalf("machine %d of %q is out of order", i, body)
				}
			}
		case market.Instance:
			if x.ID != "id" {
				t.Fatalf("asked for id, got %q", x.ID)
			}
			fuzzMachine(t, nil, &x)
		case []market.Host:
			for i, h := range x {
				fuzzPrices(t, h.CPU.Price, h.RAM.Price, h.Storage.Price)
				if !isID(h.ID) || i > 0 && x[i-1].ID > h.ID {
					t.Fatalf("host %d of %q: %+v", i, body, h)
				}
				for _, g := range h.GPUs {
					fuzzPrices(t, g.Price)
					if g.Free < 0 || printable(string(g.Model)) != string(g.Model) {
						t.Fatalf("%q: %+v", body, g)
					}
				}
			}
		case market.Deployed:
			fuzzPrices(t, x.Compute, x.Storage, x.Total)
			if !isID(x.ID) {
				t.Fatalf("a deploy with the ID %q from %q", x.ID, body)
			}
		case market.Verdict:
			fuzzPrices(t, x.Hint)
		}
	})
}

// fuzzErrors sends an answer through judgement, with a secret where it has a K.
func fuzzErrors(t *testing.T, body []byte) {
	body = bytes.ReplaceAll(body, []byte("K"), []byte(testKey))
	for _, v := range []verb{verbRead, verbBuy, verbDelete, verbChange} {
		for _, code := range []int{200, 400, 500} {
			_, f := judge(request{verb: v}, answer{code: code, body: body})
			if f == nil {
				continue
			}
			err := f.err(request{op: "op", verb: v}, newScrubber(testKey, testToken)).Error()
			if strings.Contains(err, testKey) || len(err) > maxDetail+80 || strings.ContainsFunc(err, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Fatalf("%q becomes %q", body, err)
			}
			if v.writes() && code == 500 && f.again {
				t.Fatalf("a write would be sent again after %q", body)
			}
			if h, ok := f.hint.Get(); ok && h <= 0 {
				t.Fatalf("a hint of %s in %q", h, body)
			}
		}
	}
}

func fuzzMachine(t *testing.T, body []byte, m *market.Instance) {
	fuzzPrices(t, m.Compute, m.Storage, m.Total)
	plain := utf8.Valid(body) && !bytes.ContainsRune(body, '\\')
	if m.ID == "" || body != nil && (!isID(m.ID) || plain && !bytes.Contains(body, []byte(m.ID)) || plain && !bytes.Contains(body, []byte(m.Name)) && printable(m.Name) == m.Name && !strings.ContainsRune(m.Name, unicode.ReplacementChar) && !strings.Contains(m.Name, " ")) {
		t.Fatalf("machine %+v is not in %q", m, body)
	}
	if s := m.Shape; min(s.GPUs, s.VCPUs, s.RAM, s.Storage) < 0 {
		t.Fatalf("shape %+v of %q", s, body)
	}
	for _, w := range []string{m.Name, m.RawStatus, m.Host, m.IP, m.User, string(m.Model), m.Location.City, m.Location.Country, m.Location.ID} {
		if strings.ContainsFunc(w, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("a terminal would obey %q of %q", w, body)
		}
	}
}

func fuzzPrices(t *testing.T, all ...market.Maybe[market.Rate]) {
	for _, p := range all {
		if r, ok := p.Get(); ok && r < 0 {
			t.Fatalf("a price of %s", r)
		}
	}
}

func TestTheWalkerEndsOnTextThatIsNoJSON(t *testing.T) {
	for _, text := range []string{`{`, `{"`, `{"a`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `[`, `[1`, `[1,`, `["`, `{"a":{"b":[1,{}`, `{]`, `[}`, `{"\`, `{"a" 1}`, `[,]`, `[[[[`, "{\"a\":\"\\"} {
		for i := range len(text) + 1 {
			v := value(text[:i])
			for range v.fields() {
				break
			}
			for k, f := range v.fields() {
				_, _ = string(k), f.get("a").price()
			}
			for f := range v.items() {
				_ = f.text()
			}
		}
	}
}

func TestAnAnswerNestedWithoutEndIsNotFollowed(t *testing.T) {
	const depth = 9000
	for _, in := range []string{`{"message":`, `{"error":`, `{"data":`, `{"errors":`, `[`} {
		out := strings.NewReplacer("{", "}", "[", "]").Replace(in[:1])
		inner := strings.Repeat(in, depth) + `"deep"` + strings.Repeat(out, depth)
		v := mustParse(t, []byte(inner))
		// One object deep is a sentence; what lies deeper is shown as it came.
		if got := sentence(v); got == "deep" || got != "" && got != inner {
			t.Errorf("%s was followed to %.40q", in, got)
		}
		_, _ = judge(request{verb: verbBuy}, answer{code: 200, body: v})
		for _, decode := range slices.Concat(v0Decoders, v2Decoders) {
			_, _ = decode(v)
		}
	}
	eq(t, "one deep", sentence(value(`{"message":"deep"}`)), "deep")
}

// manyHosts is a list of n hostnodes, each with the parts of a recorded one.
func manyHosts(n int) []byte {
	ports := strings.TrimSuffix(strings.Repeat("30123,", 87), ",")
	var b strings.Builder
	b.WriteString(`{"success":true,"hostnodes":{`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		_, _ = fmt.Fprintf(&b, `"%08x-1111-2222-3333-444455556666":{"location":{"city":"Turku","country":"Finland","dc":{"name":"x","tier":2},"id":"place-%d","region":"South"},`+
			`"networking":{"ports":[%s],"receive":1000,"send":1000},"specs":{"cpu":{"amount":%d,"price":0.003,"type":"EPYC 7763"},`+
			`"gpu":{"rtxa6000-pcie-48gb":{"amount":%d,"gtx":false,"pcie":true,"price":0.4%d,"rtx":true,"vram":48},"l4-pcie-24gb":{"amount":2,"gtx":false,"pcie":true,"price":0.21,"rtx":true,"vram":24}},`+
			`"ram":{"amount":256,"price":0.002},"restrictions":{"1":{"cpu":{"max":16,"min":2},"ram":{"max":64,"min":4},"storage":{"max":596,"min":20}},"2":{"cpu":{"max":32,"min":2},"ram":{"max":128,"min":4},"storage":{"max":996,"min":20}}},`+
			`"storage":{"amount":4000,"price":5e-05}},"status":{"listed":true,"online":true,"report":"https://monitor.example/%d","reserved":false,"uptime":0.9991}}`,
			n-i, i%50, ports, i%64, i%9, i%10, i)
	}
	b.WriteString(`}}`)
	return []byte(b.String())
}

func BenchmarkDecodeHosts(b *testing.B) {
	body := manyHosts(1000)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		v, f := judge(request{}, answer{code: 200, body: body})
		if f != nil {
			b.Fatal(f.text)
		}
		hosts, err := decodeHosts(v)
		if err != nil || len(hosts) != 1000 {
			b.Fatal(errors.Join(err, errors.New("not all hosts")))
		}
	}
}
