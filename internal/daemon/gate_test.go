package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
)

func TestTheGateLetsThroughOnlyWhatPausesAndBreakersAllow(t *testing.T) {
	later, earlier := noon.Add(time.Hour), noon.Add(-time.Minute)
	all := map[plan.ActionKind]bool{plan.Deploy: true, plan.Rebid: true, plan.Delete: true}
	deletes := map[plan.ActionKind]bool{plan.Delete: true}
	for name, c := range map[string]struct {
		pauses   []plan.Pause
		breakers []plan.Breaker
		file     bool
		operator bool
		open     map[plan.ActionKind]bool
	}{
		"nothing":                         {open: all},
		"a pause of the policy":           {pauses: []plan.Pause{{Policy: "train"}}},
		"a pause of all":                  {pauses: []plan.Pause{{}}},
		"a pause of another":              {pauses: []plan.Pause{{Policy: "other"}}, open: all},
		"a pause that has ended":          {pauses: []plan.Pause{{Policy: "train", Until: earlier}}, open: all},
		"a pause that will end":           {pauses: []plan.Pause{{Policy: "train", Until: later}}},
		"a teardown":                      {pauses: []plan.Pause{{Policy: "train", Teardown: true}}, open: deletes},
		"a teardown under a pause of all": {pauses: []plan.Pause{{}, {Policy: "train", Teardown: true}}, open: deletes},
		"an open breaker":                 {breakers: []plan.Breaker{{Code: "failures", Until: later}}, open: deletes},
		"a breaker that has cooled down":  {breakers: []plan.Breaker{{Code: "failures", Until: earlier}}, open: all},
		"a breaker that stops all":        {breakers: []plan.Breaker{{Code: "second_daemon", All: true}}},
		"a teardown under such a breaker": {breakers: []plan.Breaker{{Code: "second_daemon", All: true}}, pauses: []plan.Pause{{Policy: "train", Teardown: true}}, open: deletes},
		"a breaker without an end":        {breakers: []plan.Breaker{{Code: "failures"}}, open: deletes},
		"the gravest of several counts":   {breakers: []plan.Breaker{{Code: "a", Until: later}, {Code: "b", All: true}, {Code: "c"}}},
		"destroy under such a breaker":    {operator: true, breakers: []plan.Breaker{{Code: "second_daemon", All: true}}, open: deletes},
		"the pause file":                  {file: true},
		"the pause file over a teardown":  {file: true, pauses: []plan.Pause{{Policy: "train", Teardown: true}}},
		"destroy under a pause":           {operator: true, pauses: []plan.Pause{{}}, file: true, breakers: []plan.Breaker{{Until: later}}, open: deletes},
	} {
		r := newRig(t, one("live", 1))
		err := r.o.Ledger.Update(func(tx *ledger.Tx) error {
			tx.History().Pauses, tx.History().Breakers = c.pauses, c.breakers
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		g := &gate{ledger: r.o.Ledger, clock: r.clock, pauseFile: filepath.Join(r.dir, "pause"), operator: c.operator}
		if c.file {
			if err := os.WriteFile(g.pauseFile, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, kind := range []plan.ActionKind{plan.Deploy, plan.Rebid, plan.Delete} {
			err := g.Allow(plan.Action{Kind: kind, Policy: "train"})
			if (err == nil) != c.open[kind] || err != nil && !errors.Is(err, ErrGate) {
				t.Errorf("%s: %s: %v", name, kind, err)
			}
		}
	}
}

func TestAPauseThatComesInTheMiddleOfACycleStopsTheRestOfIt(t *testing.T) {
	r := newRig(t, one("live", 4))
	deployed := 0
	l := r.o.Ledger
	r.market.deploy = func(_ context.Context, o market.Order) (d market.Deployed, err error) {
		if deployed++; deployed == 2 {
			err = SetPause(l, plan.Pause{Policy: "train", Since: noon})
		}
		return d, err
	}
	r.turn()
	if n := len(r.market.writes()); n != 2 {
		t.Errorf("%d writes, want 2: %q", n, r.market.writes())
	}
}

func TestAnOrderCarriesWhatThePolicySaysAndItsPasswordIsOnDiskFirst(t *testing.T) {
	store := credentials.New(t.TempDir())
	set := &policy.Set{Policies: []policy.Policy{{Name: "train", Image: "Ubuntu 22.04 LTS"}}}
	name := "tds-main-train-abcd1234"
	for what, c := range map[string]struct {
		material Material
		kept     bool
	}{
		"nothing: a password is made up and kept": {Material{}, true},
		"a password: it is used":                  {Material{Password: secret.New("given-Pass-1")}, false},
		"a key: nobody needs the password":        {Material{SSHKey: "ssh-ed25519 AAAA", CloudInit: "#cloud-config"}, false},
	} {
		o := &outfitter{set: set, materials: map[string]Material{"train": c.material}, store: store}
		order, err := o.Outfit(plan.Action{Policy: "train", Host: "h"}, name)
		if err != nil || order.Password.IsEmpty() || order.Name != name || order.Image != "Ubuntu 22.04 LTS" ||
			order.SSHKey != c.material.SSHKey || order.CloudInit != c.material.CloudInit {
			t.Errorf("%s: %+v, %v", what, order, err)
		}
		if !c.material.Password.IsEmpty() && order.Password.Reveal() != "given-Pass-1" {
			t.Errorf("%s: another password", what)
		}
		b, err := os.ReadFile(store.Path(name))
		if kept := err == nil; kept != c.kept || kept && strings.TrimSpace(string(b)) != order.Password.Reveal() {
			t.Errorf("%s: kept %v (%v)", what, kept, err)
		}
		if err := o.Strip(name); err != nil || store.Path(name) != "" {
			t.Errorf("%s: not stripped: %v", what, err)
		}
	}
	if _, err := (&outfitter{set: set, store: store}).Outfit(plan.Action{Policy: "gone"}, name); err == nil {
		t.Error("an order for a policy that is not there")
	}
}
