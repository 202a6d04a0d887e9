package daemon

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Between two cycles our own machines are looked at, with one request each time, and
// the hosts where a policy lacks spot machines, with another. A list that shows news
// (plan.News, plan.Wish) starts a cycle before its time; that looks for
// itself, and decides. The look writes nothing, and a list that cannot be read says
// nothing about anything: it opens no breaker, and is not tried again until the next
// cycle.
const (
	// watchShare is the share of the pace, one in so many, that these looks may take.
	watchShare = 5
	// longestWatch is the longest gap between two cycles that is watched: who wants no
	// cycle for longer wants none.
	longestWatch = 10 * time.Minute
	// mostEarly is how many cycles may begin early one after the other. Each that begins
	// on time allows one more: a list that changes all the time does not double them.
	mostEarly = 10
)

// Results of a look between cycles.
const (
	lookQuiet  = "quiet"
	lookNews   = "news"
	lookFailed = "failed"
)

// vigil is what looks between cycles have found.
type vigil struct {
	left int    // cycles that may begin early
	news string // what the next cycle begins early for
	// known is what the last look has shown: what a cycle has seen too and did not
	// believe does not begin another.
	known []string
}

// take hands the news to the cycle that begins.
func (v *vigil) take() string {
	news := v.news
	v.news = ""
	if news == "" {
		v.left = min(v.left+1, mostEarly)
	} else {
		v.left--
	}
	return news
}

// hear takes what a look has shown.
func (v *vigil) hear(news []string) {
	fresh := slices.DeleteFunc(slices.Clone(news), func(n string) bool { return slices.Contains(v.known, n) })
	v.news, v.known = strings.Join(fresh, ", "), news
}

// watchEvery is how long after a look of so many requests the next is due; 0 for never.
func watchEvery(s *policy.Set, requests float64) time.Duration {
	if s.Daemon.Watch <= 0 || s.TensorDock.MarketplaceRPS <= 0 {
		return 0
	}
	return max(s.Daemon.Watch, time.Duration(requests*watchShare/s.TensorDock.MarketplaceRPS*float64(time.Second)))
}

// wish is what the list of hosts is watched for until the next cycle.
func (d *Daemon) wish(s *policy.Set, h *plan.History) plan.Wish {
	d.mu.Lock()
	last := d.last
	d.mu.Unlock()
	hosts := &last.Input.Snapshot.Hosts
	if !hosts.Complete {
		return plan.Wish{}
	}
	return plan.NewWish(h, s.Policies, last.Plan.Standings, hosts.Value, last.Input.Now)
}

// await waits for the next cycle, watching our machines; false when ctx ended.
func (d *Daemon) await(ctx context.Context, s *policy.Set, gap time.Duration) bool {
	since := clock.SteadyFrom(d.o.Clock)
	h, err := d.o.Ledger.History()
	wish, every := plan.Wish{}, watchEvery(s, 1)
	watching := every > 0 && gap <= longestWatch && d.vigil.left > 0 && err == nil && len(h.Machines) > 0
	if watching {
		if wish = d.wish(s, &h); wish.Any() {
			every = watchEvery(s, 2)
		}
	}
	for {
		left := gap - since.Now().Sub(since.At)
		if watching = watching && left > every; watching {
			left = every
		}
		woken, err := d.o.Clock.Wait(ctx, left, d.wake)
		switch {
		case err != nil:
			return false
		case woken || !watching:
			return true
		}
		result := d.watch(ctx, &h, &wish, gap-since.Now().Sub(since.At))
		d.metrics.early.WithLabelValues(result).Inc()
		switch result {
		case lookNews:
			return true
		case lookFailed:
			watching = false
		}
	}
}

// watch looks once, for at most that long.
func (d *Daemon) watch(ctx context.Context, h *plan.History, wish *plan.Wish, most time.Duration) (result string) {
	ctx, stop := d.o.Clock.WithTimeout(ctx, most)
	defer stop()
	r := d.connection().Reader
	list, err := r.Instances(ctx)
	news := plan.News(h, list)
	if err == nil && wish.Any() {
		var hosts []market.Host
		hosts, err = r.Hosts(ctx)
		news = append(news, wish.News(hosts)...)
	}
	if err != nil {
		d.o.Log.Debug("a look between cycles failed", zap.Error(err))
		return lookFailed
	}
	if d.vigil.hear(news); d.vigil.news == "" {
		return lookQuiet
	}
	d.o.Log.Info("a cycle begins early", zap.String("why", d.vigil.news))
	return lookNews
}
