package shadow

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

const gpu = market.GPUModel("rtxa5000-pcie-24gb")

var noon = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

// stage is a shadow of two GPUs beside books that the test writes.
type stage struct {
	testing.TB
	set  policy.Set
	real plan.History
	free int
	down bool // the host is offline
	now  time.Time
	s    plan.Shadow
	r    plan.ShadowReport
	did  []plan.Intent
}

func newStage(t testing.TB, more string) *stage {
	set, problems := policy.Parse("x", []byte(`version: 1
policies:
  - {name: try, shadow: true, target: {gpus: 2}, shape: {gpus: 1}, max_gpu_hour: 0.80`+more+"}\n"))
	if policy.HasErrors(problems) || len(set.Shadows) != 1 || len(set.Policies) != 0 {
		t.Fatal(problems, set.Shadows, set.Policies)
	}
	return &stage{TB: t, set: set, free: 4, now: noon}
}

func (s *stage) look() plan.Look {
	cheap := market.Component{Price: market.Some(market.Rate(0))}
	host := market.Host{
		ID: "host", Online: !s.down, Listed: true, CPU: cheap, RAM: cheap, Storage: cheap,
		GPUs: []market.HostGPU{{Model: gpu, Free: s.free, Price: market.Some(market.USD(1, 0))}},
	}
	snap := market.Snapshot{Hosts: market.Section[[]market.Host]{Value: []market.Host{host}, At: s.now, Complete: true}}
	snap.Instances = market.Section[[]market.Instance]{At: s.now, Complete: true}
	return plan.Look{Now: s.now, Owner: "main", Safety: s.set.Safety, Snapshot: snap}
}

// step lets n minutes pass, a look each.
func (s *stage) step(n int) {
	s.Helper()
	for range n {
		look := s.look()
		w := World{Set: &s.set, Look: look, Interval: time.Minute, History: &s.real, Cycle: 1}
		before := s.json(s.real) + s.json(look.Snapshot) + s.json(s.s)
		was := s.s
		s.s, s.r, s.did = Step(w, s.set.Shadows[0], was)
		if after := s.json(s.real) + s.json(look.Snapshot) + s.json(was); after != before {
			s.Fatalf("what it was given is changed:\n%s\n%s", before, after)
		}
		s.now = s.now.Add(time.Minute)
	}
}

func (s *stage) json(v any) string {
	s.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		s.Fatal(err)
	}
	return string(b)
}

func TestAShadowOrdersBootsAndPays(t *testing.T) {
	s := newStage(t, "")
	s.step(1)
	if len(s.did) != 2 || s.did[0].State != plan.IntentShadow || s.did[0].ID != 0 || s.r.Starts != 2 {
		t.Fatalf("it did %+v", s.did)
	}
	if bid := s.did[0].Bid; bid < market.USD(0, 50) || bid > market.USD(0, 80) {
		t.Errorf("it bids %s where half of a dollar is taken to win", bid)
	}
	if s.r.Asked == 0 || s.r.Assumed != s.r.Asked {
		t.Errorf("%d questions, %d without an answer on record", s.r.Asked, s.r.Assumed)
	}
	s.step(1)
	if s.r.Standing.Ready != 0 || s.r.Standing.Booting != 2 {
		t.Errorf("after a minute: %+v", s.r.Standing)
	}
	s.step(62)
	if s.r.Standing.Ready != 2 || !s.r.Standing.Satisfied || len(s.did) != 0 {
		t.Errorf("after an hour: %+v, it did %+v", s.r.Standing, s.did)
	}
	if took := s.r.Wanted; took < 2*time.Hour || s.r.Delivered < took*9/10 || s.r.Delivered >= took {
		t.Errorf("%s delivered of %s", s.r.Delivered, took)
	}
	hours := 63.0 / 60
	if want := s.r.Rate.Float() * hours; s.r.Cost.Float() < want*0.99 || s.r.Cost.Float() > want*1.01 {
		t.Errorf("%s at %s for an hour", s.r.Cost, s.r.Rate)
	}
}

func TestAShadowLosesWhatItsHostHasNoRoomForAndNotAtOnce(t *testing.T) {
	s := newStage(t, "")
	s.step(10)
	s.free = 1
	s.step(1)
	if s.r.Losses != 0 || s.r.Standing.Ready != 2 {
		t.Errorf("one list cost it a machine: %+v", s.r)
	}
	s.step(4)
	if s.r.Losses != 1 || s.r.Standing.Ready != 1 {
		t.Errorf("with room for one: %d lost, %+v", s.r.Losses, s.r.Standing)
	}
	s.free = 4
	s.step(20)
	if s.r.Standing.Ready != 2 || s.r.Starts != 3 {
		t.Errorf("with room again: %+v, %d starts", s.r.Standing, s.r.Starts)
	}
}

// What our own machines take after the shadow, it would have had.
func TestAShadowIsNotCrowdedOutByOurOwnLaterMachines(t *testing.T) {
	s := newStage(t, "")
	s.step(10)
	s.free = 0
	for _, name := range []string{"tds-main-real-aaaaaaaa", "tds-main-real-bbbbbbbb", "tds-main-real-cccccccc", "tds-main-real-dddddddd"} {
		s.real.Machines = append(s.real.Machines, plan.Machine{
			Name: name, Policy: "real", Phase: plan.PhaseLive, Status: market.StatusRunning, Host: "host", Model: gpu,
			Shape: market.Shape{GPUs: 1}, OrderedAt: s.now, Reserved: market.USD(0, 60),
		})
	}
	s.step(10)
	if s.r.Losses != 0 || s.r.Standing.Ready != 2 {
		t.Errorf("%d lost, %+v", s.r.Losses, s.r.Standing)
	}
	if s.real.Reserved() != market.USD(2, 40) {
		t.Error("the real books changed")
	}
}

func TestAShadowIsOutbidByWhatTheRecordSays(t *testing.T) {
	s := newStage(t, "")
	s.step(10)
	shape := s.s.Machines[0].Shape
	s.real.Brackets = []plan.Bracket{{Host: "host", Model: gpu, Shape: shape, Lo: market.USD(0, 70), LoAt: s.now, Hi: market.USD(0, 75), HiAt: s.now, At: s.now}}
	s.step(1)
	if s.r.Losses != 2 {
		t.Fatalf("%d of two lost: %+v", s.r.Losses, s.r.Standing)
	}
	s.step(20)
	if s.r.Standing.Ready != 2 || s.s.Machines[0].Bid.Or(0) < market.USD(0, 75) {
		t.Errorf("it did not follow: %+v at %s", s.r.Standing, s.s.Machines[0].Bid.Or(0))
	}
	s.real.Brackets[0].Hi = market.USD(0, 90)
	s.step(20)
	if s.r.Standing.Ready != 0 || s.r.Rate != 0 {
		t.Errorf("above its ceiling it would have %+v for %s", s.r.Standing, s.r.Rate)
	}
}

func TestAShadowIsAloneWithTheBudget(t *testing.T) {
	s := newStage(t, ", budget: {max_hourly: 0.70}")
	s.set.Budget.MinBalance = market.Some[market.Amount](1000 * market.Dollar)
	s.real.Machines = []plan.Machine{{Name: "tds-main-real-aaaaaaaa", Policy: "real", Phase: plan.PhaseLive, Status: market.StatusRunning, Reserved: market.USD(500, 0)}}
	s.step(10)
	if s.r.Starts != 1 || s.r.Rate > market.USD(0, 70) {
		t.Errorf("%d starts at %s under a cap for one", s.r.Starts, s.r.Rate)
	}
}

func TestAPausePausesAShadow(t *testing.T) {
	s := newStage(t, "")
	s.real.Pauses = []plan.Pause{{Policy: "try", Since: noon}}
	s.step(3)
	if s.r.Starts != 0 || len(s.r.Holds) == 0 {
		t.Errorf("paused, it would have done %+v", s.r)
	}
}

func TestWhereTheHostsCannotBeReadAShadowStandsStillAndPays(t *testing.T) {
	s := newStage(t, "")
	s.step(10)
	look := s.look()
	look.Snapshot.Hosts = market.Section[[]market.Host]{At: s.now, Problem: "no answer"}
	cost := s.r.Cost
	w := World{Set: &s.set, Look: look, Interval: time.Minute, History: &s.real}
	s.s, s.r, s.did = Step(w, s.set.Shadows[0], s.s)
	if len(s.did) != 0 || len(s.s.Machines) != 2 || s.r.Cost <= cost {
		t.Errorf("it did %v, has %d machines, and paid %s after %s", s.did, len(s.s.Machines), s.r.Cost, cost)
	}
	if !strings.Contains(s.r.Holds[0].Reason.Text, "no answer") {
		t.Errorf("it holds %v", s.r.Holds)
	}
}

// Every step checks that what it was given stays as it was: here looks are counted in
// an outage, which is behind a pointer.
func TestAShadowWhoseHostIsOfflineLeavesWhatItWasGiven(t *testing.T) {
	s := newStage(t, "")
	s.step(10)
	s.down = true
	s.step(2)
	if u := s.s.Machines[0].Outage; u == nil || u.Looks != 2 {
		t.Errorf("two looks at an offline host made %+v", u)
	}
}
