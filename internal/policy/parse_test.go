package policy

import (
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"
	"github.com/tdscaler/tdscaler/internal/market"
	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"
)

const least = `version: 1
policies:
  - name: train
    target: {gpus: 8}
    shape: {gpus: 4}
    max_gpu_hour: 0.40
`

func mustParse(t *testing.T, text string) Set {
	t.Helper()
	s, ps := Parse("p.yaml", []byte(text))
	if HasErrors(ps) {
		t.Fatalf("%v", ps)
	}
	return s
}

func TestTheLeastFileHasEveryDefault(t *testing.T) {
	got, ps := Parse("p.yaml", []byte(least))
	if len(ps) != 1 || ps[0].Code != CodeNoKey {
		t.Errorf("problems: %v", ps)
	}
	want := Set{
		Version: 1,
		Daemon: Daemon{
			Schedule: "@every 1m", Watch: 10 * time.Second, Mode: DryRun, Ledger: "tdscaler.db", Listen: "127.0.0.1:9877", Owner: "main",
			LogLevel: "info", LogFormat: "json",
		},
		TensorDock: TensorDock{
			MarketplaceURL: "https://marketplace.tensordock.com", InstancesURL: "https://dashboard.tensordock.com",
			MarketplaceRPS: 1, InstancesRPM: 100,
		},
		Budget: Budget{Zone: "UTC", Scope: ScopeOwner},
		Limits: Limits{MaxActions: 20, MaxProbes: 40, MaxChurn: market.Some(10)},
		Safety: Safety{
			UnknownLooks: 3, UnknownAge: 10 * time.Minute, AbsentLooks: 3, AbsentAge: 2 * time.Minute,
			BackoffMin: 30 * time.Second, BackoffMax: time.Hour,
			BreakerFailures: 5, BreakerWindow: 10 * time.Minute, BreakerCooldown: 15 * time.Minute, BreakerNeverUp: 5,
			PriceOutlier: 3, BillTolerance: 0.1, BillStop: 0.3,
		},
		Ledger: Ledger{Retention: 720 * time.Hour, MaxSize: 1 << 30},

		Notifications: Notifications{GroupWait: 30 * time.Second, GroupInterval: 5 * time.Minute, RepeatInterval: 4 * time.Hour, MaxPerHour: 20},
		Report:        Report{Since: 24 * time.Hour, Format: "text"},
		Policies: []Policy{{
			Name: "train", Kind: VM, Capacity: market.Spot, Target: 2, Shape: market.Shape{GPUs: 4, VCPUs: 16, RAM: 64, Storage: 100},
			MaxGPUHour: market.USD(0, 40), Image: "Ubuntu 22.04 LTS", ImageV2: "ubuntu2204", Ports: []int{22}, StoppedTTL: 72 * time.Hour, BootTimeout: 20 * time.Minute, Bidding: Bidding{Strategy: Discover, MaxStep: 0.2}, Migrate: Migrate{MinSaving: 0.1, Payback: time.Hour},
		}},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b Budget) bool { return reflect.DeepEqual(a, b) }), cmp.Comparer(func(a, b Bidding) bool { return a == b }), cmp.Comparer(func(a, b Limits) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLegalEdgesAreAccepted(t *testing.T) {
	for name, text := range map[string]string{
		"target 0":           strings.Replace(least, "gpus: 8", "gpus: 0", 1),
		"instances":          strings.Replace(least, "gpus: 8", "instances: 3", 1),
		"port 0":             "version: 1\ndaemon: {listen: \"127.0.0.1:0\"}\npolicies: []",
		"no server":          "version: 1\ndaemon: {listen: \"\"}\npolicies: []",
		"every second":       "version: 1\ndaemon: {schedule: \"@every 1s\"}\npolicies: []",
		"1000 rps":           "version: 1\ntensordock: {marketplace_rps: 1000}\npolicies: []",
		"milliseconds":       "version: 1\nsafety: {unknown_age: 5ms, absent_age: 1ms, backoff_min: 1ms, backoff_max: 2ms, breaker_window: 7ms}\npolicies: []",
		"loopback http":      "version: 1\ntensordock: {marketplace_url: \"http://127.0.0.1:8080/api/v0\", instances_url: \"http://[::1]:80/\"}\npolicies: []",
		"live, no budget":    "version: 1\ndaemon: {mode: live}\npolicies: []",
		"nine decimals":      strings.Replace(least, "0.40", "0.123456789", 1),
		"byte order mark":    "\uFEFF" + least,
		"carriage returns":   strings.ReplaceAll(least, "\n", "\r\n"),
		"document start":     "---\n" + least,
		"zero min_balance":   "version: 1\nbudget: {min_balance: 0}\npolicies: []",
		"cron with a zone":   "version: 1\ndaemon: {schedule: \"CRON_TZ=Europe/Berlin 0 7 * * 1-5\"}\npolicies: []",
		"no policies at all": "version: 1",
	} {
		if _, ps := Parse(name, []byte(text)); HasErrors(ps) {
			t.Errorf("%s: %v", name, ps)
		}
	}
}

func TestInstantAndContainerNeedNeitherShapeNorCapacity(t *testing.T) {
	_, ps := Parse("x", []byte(`version: 1
policies:
  - {name: a, kind: instant, target: {instances: 1}, max_gpu_hour: 1, ssh_key_file: a.pub}
  - {name: b, kind: container, image: a/b, target: {replicas: 1}, max_gpu_hour: 1}
`))
	if len(ps) != 0 {
		t.Errorf("%v", ps)
	}
}

func TestAReadyMadeMachineMayHaveAnySizeAndImageThatIsNotAskedFor(t *testing.T) {
	s, ps := Parse("x", []byte(`version: 1
policies:
  - {name: any, kind: instant, target: {gpus: 2}, max_gpu_hour: 1, ssh_key_file: a.pub}
  - {name: some, kind: instant, target: {gpus: 4}, shape: {gpus: 2, ram_gb: 64}, image: ubuntu2204, max_gpu_hour: 1, ssh_key_file: a.pub}
`))
	if HasErrors(ps) {
		t.Fatal(ps)
	}
	if p := s.Policies[0]; p.Shape != (market.Shape{GPUs: 1}) || p.Image != "" || p.Capacity != market.OnDemand || p.Target != 2 {
		t.Errorf("%+v", p)
	}
	if p := s.Policies[1]; p.Shape != (market.Shape{GPUs: 2, RAM: 64}) || p.Image != "Ubuntu 22.04 LTS" || p.Target != 2 {
		t.Errorf("%+v", p)
	}
}

func TestURLsBecomeOrigins(t *testing.T) {
	for in, want := range map[string]string{
		"https://a.example": "https://a.example", "https://a.example/": "https://a.example",
		"https://a.example/api/v0": "https://a.example", "https://a.example:8443/api/v0/": "https://a.example:8443",
		"http://localhost:1": "http://localhost:1", "http://127.9.9.9:1": "http://127.9.9.9:1",
		"https://a.example?x=1": "", "https://a.example/#": "", "https://u@a.example": "", "//a.example": "", "https://:80": "",
		"https://a.example:": "", "https://a.example:99999": "", "https://a.example/x": "", "http://10.0.0.1": "", "http://localhost.evil.example": "",
	} {
		s, ps := Parse("x", []byte(fmt.Sprintf("version: 1\ntensordock: {marketplace_url: %q}", in)))
		if got := s.TensorDock.MarketplaceURL; got != want || HasErrors(ps) != (want == "") {
			t.Errorf("%s: %q, %v", in, got, ps)
		}
	}
}

func TestImagesHaveTwoNames(t *testing.T) {
	for in, want := range map[string]string{
		"ubuntu2204": "Ubuntu 22.04 LTS", "ubuntu2404": "Ubuntu 24.04 LTS", "ubuntu2404_ml_pytorch": "TensorML 24 PyTorch",
		"tensorml 20 everything": "TensorML 20 Everything", "My Own": "My Own",
	} {
		if got := mustParse(t, least+"    image: "+in+"\n").Policies[0].Image; got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestProblemsAreSortedAndSourcesBounded(t *testing.T) {
	long := "version: 1\n" + strings.Repeat("é", 500) + ": 1\nzzz: 1\n"
	_, ps := Parse("x", []byte(long))
	if len(ps) < 2 || ps[0].Line > ps[1].Line {
		t.Fatalf("%v", ps)
	}
	for _, p := range ps {
		if n := len([]rune(p.Source)); n > maxSourceRunes+1 {
			t.Errorf("a source of %d runes", n)
		}
	}
}

func TestColumnsCountRunes(t *testing.T) {
	_, ps := Parse("x", []byte("version: 1\npolicies:\n  - {name: \"é日本\", nmae: x}\n"))
	for _, p := range ps {
		if p.Code == CodeUnknownKey && p.Column != 19 {
			t.Errorf("column %d", p.Column)
		}
	}
}

func TestAFloodOfProblemsIsBoundedButNeverHidesThatThereIsAnError(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\npolicies:\n")
	for i := range 300 {
		fmt.Fprintf(&b, "  - {name: a%d, target: {gpus: 1}, max_gpu_hour: 1}\n", i) // a warning each
	}
	warned, ps := Parse("x", []byte(b.String()))
	if HasErrors(ps) || len(ps) != maxProblems || len(warned.Policies) != 300 {
		t.Errorf("%d problems, %d policies", len(ps), len(warned.Policies))
	}
	b.WriteString("  - {name: last, target: {gpus: 3}, shape: {gpus: 2}, max_gpu_hour: 1}\n")
	if _, ps := Parse("x", []byte(b.String())); !HasErrors(ps) {
		t.Error("the error was dropped")
	}
	start := time.Now()
	Parse("x", []byte("version: 1\n"+strings.Repeat("a: 1\nb: [[[{\n", 80_000)))
	Parse("x", []byte("policies: ["+strings.Repeat("1,", 500_000)+"]"))
	Parse("x", []byte(strings.Repeat("[", 500_000)))
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("hostile files took %v", took)
	}
}

// checkSet is what holds for every Set that Parse lets through.
func checkSet(s Set, written map[string]int) error {
	if _, err := ParseSchedule(s.Daemon.Schedule); err != nil {
		return err
	}
	if s.Version != 1 || s.Daemon.Owner == "" || s.TensorDock.MarketplaceRPS <= 0 || s.TensorDock.InstancesRPM <= 0 ||
		s.Limits.MaxActions < 1 || s.Safety.BackoffMin > s.Safety.BackoffMax || s.Safety.UnknownLooks < 1 || s.Safety.AbsentLooks < 1 ||
		s.Safety.BreakerWindow <= 0 || s.Ledger.MaxSize <= 0 || s.Ledger.Retention <= 0 {
		return fmt.Errorf("a default is missing: %+v", s)
	}
	for i, p := range s.Policies {
		if i > 0 && s.Policies[i-1].Name >= p.Name {
			return fmt.Errorf("policies are not sorted or not unique: %s", p.Name)
		}
		if gpus, ok := written[p.Name]; ok && p.GPUs() != gpus {
			return fmt.Errorf("%s: %d GPUs, %d were written", p.Name, p.GPUs(), gpus)
		}
		if p.MaxGPUHour <= 0 || p.Ceiling() <= 0 || p.Shape.GPUs < 1 || p.Shape.VCPUs%2 != 0 || p.Shape.Storage < 1 || p.Target < 0 ||
			p.Image == "" || p.BootTimeout <= 0 || p.MinLifetime < 0 || p.Kind != VM && p.Kind != Container || !p.Buys(market.Spot) && !p.Buys(market.OnDemand) {
			return fmt.Errorf("not usable: %+v", p)
		}
		for _, b := range []Budget{s.Budget, p.Budget} {
			hour, h := b.MaxHourly.Get()
			day, d := b.MaxDaily.Get()
			month, m := b.MaxMonthly.Get()
			if h && hour <= 0 || d && day <= 0 || m && month <= 0 || b.MinRunway < 0 {
				return fmt.Errorf("a budget is not positive: %+v", b)
			}
		}
	}
	return nil
}

// writtenGPUs reads targets the plain way, to compare.
func writtenGPUs(b []byte) map[string]int {
	var f struct {
		Policies []struct {
			Name   string
			Target struct{ GPUs *int }
		}
	}
	out := map[string]int{}
	if yaml.Unmarshal(b, &f) != nil {
		return out
	}
	for _, p := range f.Policies {
		if p.Target.GPUs != nil {
			out[p.Name] = *p.Target.GPUs
		}
	}
	return out
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(least))
	if b, err := os.ReadFile(examplePath); err == nil {
		f.Add(b)
		f.Add(uncommented(b))
	}
	for _, s := range []string{"", "---\n---\n", "a: &x [*x]", "TZ=0", "? ", "- - -", "version: 1\ndaemon: {schedule: \"TZ=0\"}", "\t", "\x00", "%YAML 9"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ps := Parse("f.yaml", b)
		if s2, ps2 := Parse("f.yaml", b); !reflect.DeepEqual(s, s2) || !reflect.DeepEqual(ps, ps2) {
			t.Fatal("two answers for one file")
		}
		lines := splitLines(string(b))
		for _, p := range ps {
			if p.Line < 0 || p.Line > len(lines) || p.Line > 0 && (p.Column < 1 || p.Column > len(lines[p.Line-1])+2) || p.Message == "" || p.Code == "" {
				t.Fatalf("%+v of %d lines", p, len(lines))
			}
			if strings.ContainsFunc(p.String(), func(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }) {
				t.Fatalf("a terminal would obey %q", p.String())
			}
		}
		if HasErrors(ps) {
			if !reflect.DeepEqual(s, Set{}) {
				t.Fatal("a Set beside errors")
			}
			return
		}
		if err := checkSet(s, writtenGPUs(b)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestParseIsDeterministicAndWhatItAcceptsHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := []byte(genFile(t))
		s, ps := Parse("r.yaml", b)
		s2, ps2 := Parse("r.yaml", b)
		if !reflect.DeepEqual(s, s2) || !reflect.DeepEqual(ps, ps2) {
			t.Fatalf("two answers for\n%s", b)
		}
		if !HasErrors(ps) {
			if err := checkSet(s, writtenGPUs(b)); err != nil {
				t.Fatalf("%v\n%s", err, b)
			}
		}
	})
}

// genFile writes files of which about half are usable.
func genFile(t *rapid.T) string {
	pick := func(label string, good ...string) string { return rapid.SampledFrom(good).Draw(t, label) }
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\ndaemon: {mode: %s, schedule: %q}\n", pick("mode", "live", "dry-run"), pick("schedule", "@every 1s", "*/5 * * * *", "@hourly", "@every 0s"))
	if rapid.Bool().Draw(t, "budget") {
		fmt.Fprintf(&b, "budget: {max_hourly: %s, min_runway: %s}\n", pick("max", "1", "0.5", "12.000000001", ".nan"), pick("runway", "0s", "4h", "5"))
	}
	b.WriteString("policies:\n")
	for i := range rapid.IntRange(0, 4).Draw(t, "policies") {
		fmt.Fprintf(&b, "  - name: p%d\n    target: {gpus: %d}\n    shape: {gpus: %d}\n    max_gpu_hour: %s\n", rapid.IntRange(0, 9).Draw(t, "name"),
			rapid.IntRange(0, 16).Draw(t, "gpus"), rapid.SampledFrom([]int{1, 1, 2, 4}).Draw(t, "per"), pick("price", "0.4", "1", "0.000000001", "0"))
		if i%2 == 1 {
			fmt.Fprintf(&b, "    capacity: %s\n    match: {countries: [US], deny: {countries: [%s]}}\n", pick("capacity", "spot", "on_demand"), pick("deny", "DE", "usa"))
		}
	}
	return b.String()
}

func TestTheChurnBudgetGrowsWithWhatIsWantedUnlessItIsWritten(t *testing.T) {
	for text, want := range map[string]int{
		"":                                  40,
		"limits: {max_churn_per_hour: 0}\n": 0,
		"limits: {max_churn_per_hour: 3}\n": 3,
	} {
		set, problems := Parse("x", []byte("version: 1\n"+text+"policies:\n  - {name: a, target: {instances: 12}, max_gpu_hour: 0.4}\n"+
			"  - {name: b, target: {gpus: 16}, shape: {gpus: 2}, max_gpu_hour: 0.4}\n  - {name: c, shadow: true, target: {gpus: 99}, max_gpu_hour: 0.4}\n"))
		if got := set.Limits.MaxChurn.Or(-1); HasErrors(problems) || got != want {
			t.Errorf("%q: %d, want %d %v", text, got, want, problems)
		}
	}
}

func TestOnlyVirtualMachinesHaveShadows(t *testing.T) {
	_, problems := Parse("x", []byte("version: 1\npolicies:\n  - {name: a, kind: instant, shadow: true, target: {instances: 1}, max_gpu_hour: 0.4}\n"))
	if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Code == CodeKind && strings.Contains(p.String(), "has no shadows") }) {
		t.Errorf("%v", problems)
	}
}

func TestASpreadIsAPercentageOrANumberOfMachines(t *testing.T) {
	s := mustParse(t, least+"    spread: {per_host: 50%, per_place: 3, per_group: 12.5%}\n").Policies[0].Spread
	if s != (Spread{PerHost: Share{Percent: 50}, PerPlace: Share{Machines: 3}, PerGroup: Share{Percent: 12.5}}) || s.Host() != s.PerHost {
		t.Fatalf("%+v", s)
	}
	older := mustParse(t, least+"    spread: {max_share: 0.29}\n").Policies[0].Spread
	for _, c := range []struct {
		share        Share
		target, want int
	}{
		{s.PerHost, 8, 4},
		{s.PerHost, 5, 2},
		{s.PerHost, 1, 1},
		{s.PerHost, 0, 1},
		{s.PerGroup, 8, 1},
		{s.PerGroup, 16, 2},
		{s.PerPlace, 100, 3},
		{older.Host(), 100, 29},
		{Share{}, 5, math.MaxInt},
		{Share{Percent: 100}, 7, 7},
	} {
		if got := c.share.Of(c.target); got != c.want {
			t.Errorf("%+v of %d is %d, want %d", c.share, c.target, got, c.want)
		}
	}
}

func TestAShapeIsWhatIsWrittenAndAnOddOneOnlyWarned(t *testing.T) {
	s, ps := Parse("p.yaml", []byte(strings.Replace(least, "{gpus: 4}", "{gpus: 4, vcpus: 5, ram_gb: 33}", 1)))
	if HasErrors(ps) || len(ps) != 3 || s.Policies[0].Shape != (market.Shape{GPUs: 4, VCPUs: 5, RAM: 33, Storage: 100}) {
		t.Fatalf("%+v %v", s.Policies, ps)
	}
}

func TestTheLedgerOfAFileWithErrorsIsStillFound(t *testing.T) {
	for text, want := range map[string]string{
		"version: 1\npolicys: []\n":                                        "tdscaler.db",
		"version: 1\ndaemon: {ledger: l.db, mode: wild}\n":                 "l.db",
		"version: 1\ndaemon:\n  ledger: \"/var/l.db\" # here\n  mode: [\n": "/var/l.db",
		"version: 1\nledger: {retention: 24h}\npolicies: ]\n":              "tdscaler.db",
		"a: [\n": "tdscaler.db",
		"daemon:\n  ledger: a.db\nother:\n  ledger: b.db\n x: [\n": "",
		"version: 1\ndaemon: {ledger: [1]}\n":                      "",
	} {
		got, ok := LedgerOf("p.yaml", []byte(text))
		if ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q %v, want %q", text, got, ok, want)
		}
	}
}
