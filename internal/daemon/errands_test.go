package daemon

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tdscaler/tdscaler/internal/errands"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// hands do errands at once, as a func says.
type hands struct {
	answer func(errands.Job) plan.Finding
	jobs   []errands.Job
	found  []plan.Finding
	now    func() plan.Finding
}

func (h *hands) Start(_ context.Context, jobs []errands.Job) {
	h.jobs, h.found = append(h.jobs, jobs...), nil
	for _, j := range jobs {
		f := h.answer(j)
		f.Kind, f.Machine, f.ID = j.Kind, j.Machine, j.ID
		f.At = h.now().At
		h.found = append(h.found, f)
	}
}

func (h *hands) Findings() []plan.Finding { return h.found }
func (h *hands) Wait()                    {}

// did lists the errands done, by kind.
func (h *hands) did() (out []string) {
	for _, j := range h.jobs {
		out = append(out, string(j.Kind))
	}
	return out
}

// withHands is a rig whose machines have an address, and hands for errands.
func withHands(t *testing.T, config string, answer func(errands.Job) plan.Finding) (*rig, *hands) {
	t.Helper()
	h := &hands{answer: answer}
	r := newRig(t, config, func(o *Options) { o.Errands = h })
	h.now = func() plan.Finding { return plan.Finding{At: r.clock.Now()} }
	r.market.deploy = func(_ context.Context, o market.Order) (market.Deployed, error) {
		r.market.mu.Lock()
		defer r.market.mu.Unlock()
		for id, m := range r.market.machines {
			if m.Name == o.Name {
				m.IP, m.Ports = "203.0.113.7", []market.PortForward{{External: 30022, Internal: 22}}
				r.market.machines[id] = m
				return market.Deployed{ID: id, Total: market.Some(o.Bid.Add(market.Rate(market.Cent)))}, nil
			}
		}
		return market.Deployed{}, nil
	}
	return r, h
}

const hooked = `version: 1
daemon: {mode: MODE, ledger: ledger.db, listen: ""}
policies:
  - name: train
    target: {gpus: TARGET}
    shape: {gpus: 1}
    max_gpu_hour: 0.80
    ready: {tcp: 22}
    on_ready: {webhook: {url: "https://hooks.example.com/x?token=hunter2"}}
    drain: {command: [leave], grace: 2m}
`

func hookedFor(mode, target string) string {
	return strings.NewReplacer("MODE", mode, "TARGET", target).Replace(hooked)
}

func TestAMachineIsProbedThenToldThenAskedAndThenGoes(t *testing.T) {
	refuse := true
	r, h := withHands(t, hookedFor("live", "1"), func(j errands.Job) plan.Finding {
		if j.Kind == plan.ErrandProbe && refuse {
			return plan.Finding{Text: "connection refused"}
		}
		return plan.Finding{OK: true}
	})
	for range 4 {
		r.turn()
	}
	if ready := r.last.Plan.Standings[0].Ready; ready != 0 || len(h.jobs) == 0 || h.jobs[0].Address != "203.0.113.7:30022" || h.jobs[0].Ready.TCP != 22 {
		t.Fatalf("%d ready, %+v", ready, h.jobs)
	}
	refuse = false
	for range 2 {
		r.turn()
	}
	last := h.jobs[len(h.jobs)-1]
	if !r.last.Plan.Standings[0].Satisfied || last.Kind != plan.ErrandReady || last.Hook.URL == "" || last.Facts.IP != "203.0.113.7" {
		t.Fatalf("%+v, %+v", r.last.Plan.Standings, last)
	}
	n := len(h.jobs)
	for range 5 {
		r.turn()
	}
	if len(h.jobs) != n {
		t.Errorf("told again: %v", h.did())
	}
	r.write(hookedFor("live", "0"))
	if err := r.Reload(true); err != nil {
		t.Fatal(err)
	}
	r.turn() // it drains from here on, and the hook agrees
	sent := len(r.market.writes())
	r.turn()
	if last := h.jobs[len(h.jobs)-1]; last.Kind != plan.ErrandDrain || last.Hook.Command[0] != "leave" || len(r.market.writes()) != sent {
		t.Errorf("%+v, %v", last, r.market.writes())
	}
	r.turn()
	if got := r.market.writes(); len(got) != sent+1 || !strings.HasPrefix(got[sent], "delete") {
		t.Errorf("%v", got)
	}
	for result, want := range map[string]float64{"ok": 1, "failed": 0, "veto": 0} {
		if got := testutil.ToFloat64(r.metrics.errands.WithLabelValues("drain", result)); got != want {
			t.Errorf("%v drains %s, want %v", got, result, want)
		}
	}
	report, err := r.o.Ledger.Report(r.last.Cycle - 2)
	if err != nil || len(report.Plan.Drains) == 0 {
		t.Errorf("the report: %+v %v", report.Plan.Drains, err)
	}
}

func TestADryRunProbesNothingAndCallsNobody(t *testing.T) {
	r, h := withHands(t, hookedFor("dry-run", "1"), nil)
	r.market.machines["x"] = market.Instance{
		ID: "x", Name: "tds-main-train-00000000", API: market.V0, Status: market.StatusRunning, Host: "host", Model: gpu,
		Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 100}, Capacity: market.Spot,
	}
	for range 3 {
		r.turn()
	}
	if len(h.jobs) != 0 {
		t.Errorf("%v", h.did())
	}
	if m := r.last.Input.History.Machines; len(m) != 1 || !m[0].Unproven {
		t.Errorf("%+v", m)
	}
}

func TestASingleCycleFinishesItsErrands(t *testing.T) {
	r, h := withHands(t, hookedFor("live", "1"), func(errands.Job) plan.Finding { return plan.Finding{OK: true} })
	for range 4 { // buys, sees and probes, is ready and tells, rests
		if err := r.Run(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		h.found = nil // another process
	}
	if got := strings.Join(h.did(), " "); got != "probe on_ready" {
		t.Errorf("did %q", got)
	}
}

func TestAReloadThatWouldDrainMostOfTheFleetIsHeld(t *testing.T) {
	r, _ := withHands(t, hookedFor("live", "4"), func(errands.Job) plan.Finding { return plan.Finding{OK: true} })
	for range 5 {
		r.turn()
	}
	r.write(strings.Replace(hookedFor("live", "4"), "max_gpu_hour: 0.80", "max_gpu_hour: 0.10", 1))
	if err := r.Reload(false); err != nil {
		t.Fatal(err)
	}
	if held := r.status().Reload.Held; !strings.Contains(held, "4 of 4 machines would be deleted") {
		t.Errorf("held: %q", held)
	}
}

func TestADestroyIsGentleOnlyWhereItIsAskedToBe(t *testing.T) {
	for _, gentle := range []bool{true, false} {
		r, h := withHands(t, hookedFor("live", "1"), func(errands.Job) plan.Finding { return plan.Finding{OK: true} })
		for range 5 {
			r.turn()
		}
		destroy := r.Destroy
		if gentle {
			destroy = r.DestroyGently
		}
		done, err := destroy(t.Context(), "train", "test")
		if err != nil || len(done) != 1 || (done[0].Outcome == "draining") != gentle {
			t.Errorf("gentle %v: %+v %v", gentle, done, err)
		}
		for range 5 {
			r.turn()
		}
		if asked := strings.Contains(strings.Join(h.did(), " "), "drain"); asked != gentle || len(r.market.machines) != 0 {
			t.Errorf("gentle %v: asked %v, %d machines are left", gentle, asked, len(r.market.machines))
		}
		// A later word that is less patient counts.
		if _, err := r.Destroy(t.Context(), "", "all of it"); err != nil {
			t.Error(err)
		}
		if _, err := r.DestroyGently(t.Context(), "", "slowly"); err != nil {
			t.Error(err)
		}
		h1, err := r.o.Ledger.History()
		if p := h1.PausedBy("train", r.clock.Now()); err != nil || p == nil || p.Gentle {
			t.Errorf("%+v %v", p, err)
		}
	}
}

func TestAnSSHProbeNeedsAKeyThatCanBeUsed(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config := strings.Replace(hookedFor("live", "1"), "{tcp: 22}", "{ssh: {command: nvidia-smi -L, key_file: id}}", 1)
	write("policies.yaml", config)
	for _, key := range []string{"", "ssh-ed25519 AAAA public", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"} {
		if key != "" {
			write("id", key)
		}
		_, problems, err := LoadConfig(filepath.Join(dir, "policies.yaml"))
		if err == nil || len(problems) == 0 {
			t.Fatalf("%q: %v %v", key, problems, err)
		}
		if last := problems[len(problems)-1]; !strings.HasSuffix(last.Path, "ready.ssh.key_file") || strings.Contains(last.Message, "AAAA") {
			t.Errorf("%q: %v", key, last)
		}
	}
}
