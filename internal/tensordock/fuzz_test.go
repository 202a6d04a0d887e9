package tensordock

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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

// fuzzDecoders holds two properties: no input makes a decoder panic, and what it
// makes of an answer that it takes keeps the package's promises.
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
		for _, v := range []verb{verbRead, verbBuy} {
			_, _ = judge(request{verb: v}, answer{code: 200, body: body})
		}
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
			for i, m := range x {
				if m.ID == "" || i > 0 && x[i-1].ID >= m.ID {
					t.Fatalf("machine %d of %q is without an ID or out of order", i, body)
				}
			}
		case []market.Host:
			for i, h := range x {
				if p, ok := h.CPU.Price.Get(); h.ID == "" || i > 0 && x[i-1].ID > h.ID || ok && p < 0 {
					t.Fatalf("host %d of %q: %+v", i, body, h)
				}
			}
		case market.Deployed:
			if x.ID == "" {
				t.Fatalf("a deploy without an ID from %q", body)
			}
		}
	})
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
