package campaign

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// Where a trouble comes from.
const (
	byNetwork  = "network"
	byAPI      = "api"
	byMarket   = "market"
	byClock    = "clock"
	byDisk     = "disk"
	byOperator = "operator"
	byProcess  = "process"
)

// apiFaults says where the faults of the simulator's plans belong.
func apiFaults() map[string]string {
	out := map[string]string{}
	for kind := range simulator.FaultKinds() {
		out[kind] = byAPI
	}
	for _, kind := range []string{"lost_request", "lost", "slow"} {
		out[kind] = byNetwork
	}
	for _, kind := range []string{"price_move", "never_up"} {
		out[kind] = byMarket
	}
	delete(out, "renamed") // by hand, below
	return out
}

// trouble is one kind of thing that goes wrong, or that somebody does. do says
// whether it could be done: there may be no machine to delete, say.
type trouble struct {
	kind, from string
	// inside: it may come in the middle of a cycle, before a request for reading;
	// the others only between two cycles.
	inside bool
	share  int // how often it comes, against others; 0 is 1
	do     func(s *simulation) bool
	boxes  bool // only where there is a policy for containers
}

// troubles are all kinds beside those of the simulator's fault plans.
func troubles() []trouble {
	return []trouble{
		{kind: "refused", from: byNetwork, inside: true, do: func(s *simulation) bool { s.refuse = 1 + s.rng.IntN(12); return true }},
		{kind: "unreachable", from: byNetwork, inside: true, do: func(s *simulation) bool {
			s.unreachable = true
			s.later(s.upTo(90*time.Minute), func() { s.unreachable = false })
			return true
		}},

		{kind: "price_spike", from: byMarket, inside: true, do: (*simulation).spike},
		{kind: "crowded_out", from: byMarket, inside: true, do: (*simulation).crowd},
		{kind: "host_leaves", from: byMarket, inside: true, do: (*simulation).hostLeaves},
		{kind: "host_deletes", from: byMarket, inside: true, do: func(s *simulation) bool {
			return s.hand(func(e simulator.Event) error { return s.engine.Delete(e.Machine) })
		}},
		{kind: "stops_by_itself", from: byMarket, inside: true, do: func(s *simulation) bool {
			return s.hand(func(e simulator.Event) error { return s.engine.Stop(e.Machine, s.rng.IntN(2) == 0) })
		}},
		{kind: "balance_low", from: byMarket, inside: true, do: func(s *simulation) bool {
			left := market.Amount(s.rng.IntN(20)) * market.Dollar / 4
			s.engine.Deposit(left - s.engine.Account().Balance)
			s.drained = s.clock.Now()
			s.later(s.upTo(10*time.Hour), s.deposit)
			return true
		}},
		{kind: "deposit", from: byMarket, inside: true, do: func(s *simulation) bool { s.deposit(); return true }},

		{kind: "clock_minutes_forth", from: byClock, inside: true, do: func(s *simulation) bool { return s.step(s.upTo(30 * time.Minute)) }},
		{kind: "clock_minutes_back", from: byClock, inside: true, do: func(s *simulation) bool { return s.step(-s.upTo(30 * time.Minute)) }},
		{kind: "clock_hours_forth", from: byClock, inside: true, do: func(s *simulation) bool { return s.step(s.upTo(9 * time.Hour)) }},
		{kind: "clock_hours_back", from: byClock, inside: true, do: func(s *simulation) bool { return s.step(-s.upTo(9 * time.Hour)) }},
		{kind: "clock_day_forth", from: byClock, inside: true, do: func(s *simulation) bool { return s.step(24 * time.Hour) }},
		{kind: "clock_day_back", from: byClock, inside: true, do: func(s *simulation) bool { return s.step(-24 * time.Hour) }},
		{kind: "clock_corrected", from: byClock, inside: true, do: func(s *simulation) bool { return s.step(-s.skew) }},
		{kind: "asleep", from: byClock, inside: false, do: func(s *simulation) bool {
			s.clock.Set(s.clock.Now().Add(s.upTo(10 * time.Hour)))
			return true
		}},

		{kind: "disk_full", from: byDisk, inside: true, do: func(s *simulation) bool {
			s.disk.full, s.disk.touched = true, true
			s.later(s.upTo(2*time.Hour), func() { s.disk.full = false })
			return true
		}},
		{kind: "commit_fails", from: byDisk, inside: true, do: func(s *simulation) bool { s.disk.fails = 1 + s.rng.IntN(4); return true }},
		{kind: "passwords_unwritable", from: byDisk, inside: true, do: (*simulation).blockPasswords},

		{kind: "pause", from: byOperator, inside: true, do: func(s *simulation) bool { return s.pauses("") }},
		{kind: "pause_policy", from: byOperator, inside: true, do: func(s *simulation) bool { return s.pauses(s.policy()) }},
		{kind: "resume", from: byOperator, inside: true, do: func(s *simulation) bool {
			_, _, err := daemon.Resume(s.ledger, "")
			return err == nil
		}},
		{kind: "pause_file", from: byOperator, inside: true, do: func(s *simulation) bool {
			path := filepath.Join(s.dir, "pause")
			s.must(os.WriteFile(path, nil, 0o600))
			s.later(s.upTo(3*time.Hour), func() { _ = os.Remove(path) })
			return true
		}},
		{kind: "reload_good", from: byOperator, inside: true, do: func(s *simulation) bool { s.wish = s.wishes(); return s.adopt() }},
		{kind: "reload_bad", from: byOperator, inside: true, do: func(s *simulation) bool {
			s.write("version: 1\npolicies: [{name: train, target: lots}]\n")
			err := s.reload(true)
			s.write(s.wish.text())
			return err != nil
		}},
		{kind: "reload_dry_run", from: byOperator, inside: true, do: func(s *simulation) bool {
			s.wish.mode = "dry-run"
			s.later(s.upTo(3*time.Hour), func() { s.wish.mode = "live"; s.adopt() })
			return s.adopt()
		}},
		{kind: "caps_lowered", from: byOperator, inside: true, do: func(s *simulation) bool { s.wish.tighten(); return s.adopt() }},
		{kind: "ceiling_lowered", from: byOperator, inside: true, do: func(s *simulation) bool { s.wish.ceiling = 20 + s.rng.IntN(20); return s.adopt() }},
		{kind: "shape_grown", from: byOperator, inside: true, share: 3, do: func(s *simulation) bool { s.wish.grown, s.reshaped = !s.wish.grown, true; return s.adopt() }},
		{kind: "policy_removed", from: byOperator, inside: true, do: func(s *simulation) bool {
			s.wish.gone = s.policy()
			s.later(s.upTo(5*time.Hour), func() { s.wish.gone = ""; s.adopt() })
			return s.adopt()
		}},
		{kind: "protected", from: byOperator, inside: true, do: func(s *simulation) bool {
			return s.hand(func(e simulator.Event) error {
				s.wish.protected = append(s.wish.protected, e.Name)
				s.adopt()
				return nil
			})
		}},
		{kind: "target_set", from: byOperator, inside: true, do: (*simulation).setTarget},
		{kind: "destroy", from: byOperator, inside: false, do: (*simulation).destroy},
		{kind: "renamed_by_hand", from: byOperator, inside: true, do: (*simulation).rename},
		{kind: "deleted_by_hand", from: byOperator, inside: true, do: func(s *simulation) bool {
			return s.hand(func(e simulator.Event) error { return s.engine.Delete(e.Machine) })
		}},
		{kind: "stopped_by_hand", from: byOperator, inside: true, do: (*simulation).stopByHand},
		{kind: "cloned_by_hand", from: byOperator, inside: true, do: func(s *simulation) bool { return s.clone(false) }},
		{kind: "twin_by_hand", from: byOperator, inside: true, do: func(s *simulation) bool { return s.clone(true) }},

		{kind: "replica_lost", from: byMarket, inside: true, boxes: true, do: (*simulation).loseReplica},
		{kind: "container_stopped_by_hand", from: byOperator, inside: true, boxes: true, do: func(s *simulation) bool {
			all := s.engine.Containers()
			return len(all) > 0 && s.byHand(func() error { return s.engine.StopContainer(all[0].ID) }) == nil
		}},

		{kind: "crash", from: byProcess, inside: true, share: 8, do: func(s *simulation) bool {
			s.fuse.armed, s.fuse.points, s.fuse.at = true, 0, 1+s.rng.IntN(150)
			return true
		}},
		{kind: "restart", from: byProcess, inside: false, do: func(s *simulation) bool { s.again = true; return true }},
	}
}

// upTo is a time from a minute up to d.
func (s *simulation) upTo(d time.Duration) time.Duration {
	return time.Minute + time.Duration(s.rng.Int64N(int64(d)))
}

func (s *simulation) policy() string {
	if s.wish.boxes && s.rng.IntN(4) == 0 {
		return "web"
	}
	return []string{"train", "pair", "serve"}[s.rng.IntN(3)]
}

// any is one of our machines at the market that satisfies want; false if there is none.
func (s *simulation) any(want func(simulator.Event) bool) (simulator.Event, bool) {
	var list []simulator.Event
	for id, e := range s.alive {
		if _, _, replica := replicaOf(e.Name); replica {
			continue
		}
		if _, mine := ours(e.Name); mine && !s.world.hand[id] && want(e) {
			list = append(list, e)
		}
	}
	if len(list) == 0 {
		return simulator.Event{}, false
	}
	slices.SortFunc(list, func(a, b simulator.Event) int { return strings.Compare(a.Machine, b.Machine) })
	return list[s.rng.IntN(len(list))], true
}

// hand does something to one of our machines at the market.
func (s *simulation) hand(do func(simulator.Event) error) bool {
	e, ok := s.any(func(simulator.Event) bool { return true })
	return ok && s.byHand(func() error { return do(e) }) == nil
}

// spike lets rivals take, for some hours, the hosts where we are.
func (s *simulation) spike() bool {
	e, ok := s.any(func(e simulator.Event) bool { return true })
	if !ok {
		return false
	}
	bid := e.Rate.PerGPU(e.GPUs).Scale(int64(105+s.rng.IntN(200)), 100).CeilCent()
	return s.byHand(func() error {
		for range 8 {
			if err := s.engine.AddRival(e.Host, simulator.Rival{Model: e.Model, GPUs: 1, Bid: bid, Stay: s.upTo(6 * time.Hour)}); err != nil {
				return err
			}
		}
		return nil
	}) == nil
}

// crowd lets on-demand tenants in.
func (s *simulation) crowd() bool {
	e, ok := s.any(func(e simulator.Event) bool { return true })
	return ok && s.byHand(func() error {
		return s.engine.AddRival(e.Host, simulator.Rival{Model: e.Model, GPUs: e.GPUs, OnDemand: true, Stay: s.upTo(8 * time.Hour)})
	}) == nil
}

func (s *simulation) hostLeaves() bool {
	e, ok := s.any(func(e simulator.Event) bool { return true })
	if !ok {
		return false
	}
	s.later(s.upTo(8*time.Hour), func() { s.must(s.engine.SetHost(e.Host, true, true)) })
	return s.engine.SetHost(e.Host, s.rng.IntN(2) == 0, false) == nil
}

func (s *simulation) deposit() {
	if missing := 500*market.Dollar - s.engine.Account().Balance; missing > 0 {
		s.engine.Deposit(missing)
	}
}

// step sets the daemon's clock.
func (s *simulation) step(d time.Duration) bool {
	if d == 0 || s.skew+d > 48*time.Hour || s.skew+d < -48*time.Hour {
		return false
	}
	s.setClock(s.skew + d)
	return true
}

// blockPasswords puts a file where the directory of passwords is.
func (s *simulation) blockPasswords() bool {
	dir := filepath.Join(s.dir, "credentials")
	aside := dir + ".aside"
	if _, err := os.Stat(aside); err == nil {
		return false
	}
	if err := os.Rename(dir, aside); err != nil {
		return false
	}
	s.must(os.WriteFile(dir, nil, 0o600))
	s.later(s.upTo(time.Hour), func() {
		s.must(os.Remove(dir))
		s.must(os.Rename(aside, dir))
	})
	return true
}

func (s *simulation) pauses(policy string) bool {
	p := plan.Pause{Policy: policy, Since: s.clock.Now().Add(s.skew), Reason: "test"}
	if s.rng.IntN(2) == 0 {
		p.Until = p.Since.Add(s.upTo(3 * time.Hour))
	}
	if daemon.SetPause(s.ledger, p) != nil {
		return false
	}
	s.later(s.upTo(4*time.Hour), func() { _, _, _ = daemon.Resume(s.ledger, policy) })
	return true
}

// adopt writes the wished-for configuration and lets the daemon read it. A change
// that is too drastic for a change on disk is confirmed.
func (s *simulation) adopt() bool {
	s.write(s.wish.text())
	if s.reload(s.rng.IntN(4) > 0) != nil {
		return false
	}
	return s.reload(true) == nil
}

func (s *simulation) destroy() bool {
	name := s.policy()
	s.destroying = true
	_, err := s.daemon.Destroy(s.Context(), name, "test")
	s.destroying = false
	s.later(s.upTo(4*time.Hour), func() { _, _, _ = daemon.Resume(s.ledger, name) })
	return err == nil
}

// rename takes a machine of ours out of our hands for some hours.
func (s *simulation) rename() bool {
	return s.hand(func(e simulator.Event) error {
		s.renamed[e.Machine] = s.clock.Now()
		s.later(s.upTo(5*time.Hour), func() {
			_ = s.byHand(func() error { return s.engine.Rename(e.Machine, e.Name) }) // gone meanwhile, perhaps
		})
		return s.engine.Rename(e.Machine, "mine now")
	})
}

// stopByHand stops a machine, for a while or for good.
func (s *simulation) stopByHand() bool {
	return s.hand(func(e simulator.Event) error {
		if s.rng.IntN(2) == 0 {
			s.later(s.upTo(20*time.Minute), func() {
				if s.byHand(func() error { return s.engine.Start(e.Machine) }) == nil { // else it is gone
					s.kinds["started_by_hand"]++
				}
			})
		}
		return s.engine.Stop(e.Machine, true)
	})
}

// clone makes a machine by hand on another's host: a twin has the very same name,
// else it has our mark and a key of its own.
//
// For all that the daemon can know, another one has bought it: it stops everything
// until somebody resumes.
func (s *simulation) clone(twin bool) bool {
	s.later(s.upTo(3*time.Hour), func() { _, _, _ = daemon.Resume(s.ledger, "") })
	return s.hand(func(e simulator.Event) error {
		name := e.Name
		if !twin {
			policy, _ := ours(e.Name)
			name = market.MachineName{Owner: "main", Policy: policy, Key: fmt.Sprintf("%08d", s.rng.IntN(1e8))}.String()
		}
		hosts := s.engine.Hosts()
		for range 20 {
			h := hosts[s.rng.IntN(len(hosts))]
			if len(h.GPUs) == 0 {
				continue
			}
			o := market.Order{
				Name: name, Host: h.ID, Model: h.GPUs[0].Model, Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 60},
				Capacity: market.OnDemand, Image: "Ubuntu 22.04 LTS", Password: secret.New("Somebody-else-1"),
			}
			if _, err := s.engine.Deploy(o); err == nil {
				return nil
			}
		}
		return errors.New("no room")
	})
}
