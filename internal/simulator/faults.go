package simulator

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Kinds of faults. The first group answers instead of acting, the second acts and
// spoils the answer, the third changes what the answer shows, the fourth changes
// the market.
const (
	faultLostRequest = "lost_request" // the connection ends before the effect
	fault429         = "429"
	fault429Retry    = "429_retry" // with Retry-After (value: seconds, default 30)
	faultJSON500     = "json500"
	faultHTML500     = "html500"
	faultHTML200     = "html200"
	faultAuth        = "auth" // good credentials are refused

	faultLost     = "lost"      // the effect happens, the connection ends
	faultSlow     = "slow"      // value: how long, default 90s
	faultLate500  = "late500"   // the effect happens, HTTP 500 with JSON in one of many words
	faultLateHTML = "late_html" // the effect happens, a web page with HTTP 200 or 5xx
	faultTruncate = "truncate"  // half of the body

	faultEmpty         = "empty"          // a list without entries
	faultStale         = "stale"          // an earlier list (value: how many calls ago, default 3)
	faultPartial       = "partial"        // every second entry is missing
	faultDuplicate     = "duplicate"      // one machine twice, under another id
	faultStatus        = "status"         // every status is a word nobody knows (value)
	faultNoGPUCount    = "no_gpu_count"   // machines name their GPU model, not how many
	faultStringSuccess = "string_success" // "true"
	faultNoSuccess     = "no_success"
	fault202           = "202"            // HTTP 202 instead of 200
	faultStringNumbers = "string_numbers" // every number is quoted
	faultSingular      = "singular"       // get/single as the old documentation has it
	faultBadBalance    = "bad_balance"    // balance is value, default 0
	faultNoBalance     = "no_balance"
	faultDrop          = "drop"  // a member (value, default name) is gone from whatever had it
	faultExtra         = "extra" // every thing listed has one more member (value, default novelty)
	faultMore          = "more"  // the list says that there are more pages

	faultPriceMove = "price_move" // rivals come right after an accepted validation, for value, default 30m
	faultNeverUp   = "never_up"   // the machine deployed, or any replica of the container, never comes up
	faultNoID      = "no_id"      // a container is deployed, and its id is not told
	faultRenamed   = "renamed"    // the owner gives a machine another name (value) before the call
)

// FaultKinds are all kinds that ParseFaults knows, with what they do.
func FaultKinds() map[string]string {
	return map[string]string{
		faultLostRequest: "the connection ends before the effect", faultLost: "the connection ends after the effect",
		fault429: "HTTP 429", fault429Retry: "HTTP 429 with Retry-After (=seconds)",
		faultJSON500: "HTTP 500 with JSON, no effect", faultHTML500: "HTTP 500 with HTML, no effect",
		faultHTML200: "HTTP 200 with HTML, no effect", faultAuth: "good credentials are refused",
		faultSlow: "the answer is late (=duration)", faultLate500: "HTTP 500 after the effect, in one of many words",
		faultLateHTML: "a web page after the effect, HTTP 200 or 5xx", faultTruncate: "half of the body",
		faultEmpty: "an empty list", faultStale: "an earlier list (=calls ago)", faultPartial: "every second entry is missing",
		faultDuplicate: "one machine twice under two ids", faultStatus: "unknown status words (=word)",
		faultNoGPUCount:    "machines without the number of their GPUs",
		faultStringSuccess: "success is a string", faultNoSuccess: "success is missing", fault202: "HTTP 202 instead of 200",
		faultStringNumbers: "every number is quoted", faultSingular: "get answers under virtualmachine",
		faultBadBalance: "a wrong balance (=dollars)", faultNoBalance: "no balance",
		faultPriceMove: "rivals come right after an accepted validation (=duration)", faultNeverUp: "the machine never comes up",
		faultNoID:    "a container's id is not told",
		faultRenamed: "the owner renames a machine (=name)",
		faultDrop:    "a member is gone from every thing (=member)", faultExtra: "every thing listed has a new member (=member)",
		faultMore: "a list says that it goes on, on another page",
	}
}

// Faults is a plan of what goes wrong.
type Faults struct{ rules []faultRule }

type faultRule struct {
	kind, op, value string
	share           float64       // of the calls; 0 where first..last counts
	first, last     int           // which of the calls, from 1; last 0: all later ones
	from, to        time.Duration // since the engine's start; to 0: for ever
}

// ErrFaults is wrapped by every error of ParseFaults.
var ErrFaults = errors.New("fault plan")

// ParseFaults reads a plan: rules separated by commas, each
//
//	kind[=value]:operation:when[:from-to]
//
// where operation is an endpoint's short name (deploy, list, hostnodes, v2_create,
// ...), a prefix with a star, or "*"; when is a share of the calls (0.05) or their
// numbers (n3, n3-5, n3+); and from-to are durations after the start ("2h-4h",
// "2h-"). Example: "html500:deploy:0.05,lost:deploy:n3,slow=40s:*:0.02:1h-3h".
func ParseFaults(text string) (*Faults, error) {
	f := &Faults{}
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		r, err := parseRule(part)
		if err != nil {
			return nil, fmt.Errorf("%w: %q: %w", ErrFaults, part, err)
		}
		f.rules = append(f.rules, r)
	}
	return f, nil
}

func parseRule(text string) (faultRule, error) {
	parts := strings.Split(text, ":")
	if len(parts) < 3 || len(parts) > 4 {
		return faultRule{}, errors.New("want kind:operation:when or kind:operation:when:from-to")
	}
	r := faultRule{op: parts[1]}
	r.kind, r.value, _ = strings.Cut(parts[0], "=")
	if _, known := FaultKinds()[r.kind]; !known {
		return r, fmt.Errorf("unknown kind; known are %s", strings.Join(slices.Sorted(maps.Keys(FaultKinds())), ", "))
	}
	if !knownOperation(r.op) {
		return r, fmt.Errorf("unknown operation %q", r.op)
	}
	if err := r.parseWhen(parts[2]); err != nil {
		return r, err
	}
	if len(parts) == 4 {
		return r, r.parseSpan(parts[3])
	}
	return r, r.checkValue()
}

func (r *faultRule) parseWhen(s string) error {
	rest, counted := strings.CutPrefix(s, "n")
	if !counted {
		share, err := strconv.ParseFloat(s, 64)
		if err != nil || !(share > 0 && share <= 1) {
			return fmt.Errorf("%q is neither a share within 0 to 1 nor n1, n1-3, n1+", s)
		}
		r.share = share
		return nil
	}
	first, last, isRange := strings.Cut(rest, "-")
	first, open := strings.CutSuffix(first, "+")
	var err error
	if r.first, err = strconv.Atoi(first); err != nil || r.first < 1 {
		return fmt.Errorf("%q is no number of a call", s)
	}
	switch {
	case isRange:
		if r.last, err = strconv.Atoi(last); err != nil || r.last < r.first {
			return fmt.Errorf("%q is no range of calls", s)
		}
	case !open:
		r.last = r.first
	}
	return nil
}

func (r *faultRule) parseSpan(s string) error {
	from, to, isRange := strings.Cut(s, "-")
	if !isRange {
		return fmt.Errorf("%q is not from-to", s)
	}
	var err error
	if r.from, err = time.ParseDuration(from); err != nil {
		return err
	}
	if to != "" {
		if r.to, err = time.ParseDuration(to); err != nil {
			return err
		}
	}
	return r.checkValue()
}

func (r *faultRule) checkValue() error {
	var err error
	switch {
	case r.value == "":
	case r.kind == faultSlow, r.kind == faultPriceMove:
		_, err = time.ParseDuration(r.value)
	case r.kind == faultStale, r.kind == fault429Retry:
		_, err = strconv.ParseUint(r.value, 10, 16)
	case r.kind == faultBadBalance:
		_, err = market.ParseAmount(r.value)
	}
	return err
}

func knownOperation(name string) bool {
	prefix, star := strings.CutSuffix(name, "*")
	for _, op := range operations() {
		if op == name || star && strings.HasPrefix(op, prefix) {
			return true
		}
	}
	return false
}

// operations are the names of all endpoints.
func operations() []string {
	out := []string{opHostnode.name, opReplicas.name}
	for _, routes := range []map[string]*operation{v0Routes, v2Routes} {
		for _, op := range routes {
			out = append(out, op.name)
		}
	}
	slices.Sort(out)
	return out
}

func (r *faultRule) concerns(op string) bool {
	prefix, star := strings.CutSuffix(r.op, "*")
	return r.op == op || star && strings.HasPrefix(op, prefix)
}

// duration is the rule's value; a bad one was refused by ParseFaults.
func (r *faultRule) duration(fallback time.Duration) time.Duration {
	d, err := time.ParseDuration(r.value)
	if err != nil {
		return fallback
	}
	return d
}

// faultState is what a face remembers of a plan. Guarded by the face's lock.
type faultState struct {
	rules   []faultRule
	calls   []int // per rule
	rng     *rand.Rand
	words   *rand.Rand // of the late errors: of its own, so that no other fault moves
	start   time.Time
	history map[string][][]byte // lists answered, for stale
}

func newFaultState(f *Faults, seed uint64, start time.Time) faultState {
	s := faultState{rng: stream(seed, "faults"), words: stream(seed, "fault words"), start: start, history: map[string][][]byte{}}
	if f != nil {
		s.rules = f.rules
		s.calls = make([]int, len(f.rules))
	}
	return s
}

// hits are the rules that strike a call.
type hits []faultRule

// meet counts the call and returns what goes wrong with it.
func (f *face) meet(op string) hits {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out hits
	since := f.e.opts.Clock.Now().Sub(f.faults.start)
	for i, r := range f.faults.rules {
		if !r.concerns(op) || since < r.from || r.to > 0 && since >= r.to {
			continue
		}
		f.faults.calls[i]++
		n := f.faults.calls[i]
		if r.share > 0 && f.faults.rng.Float64() < r.share || r.share == 0 && n >= r.first && (r.last == 0 || n <= r.last) {
			out = append(out, r)
			if f.opts.Struck != nil {
				f.opts.Struck(r.kind, op)
			}
		}
	}
	return out
}

func (h hits) find(kind string) *faultRule {
	for i := range h {
		if h[i].kind == kind {
			return &h[i]
		}
	}
	return nil
}

func (h hits) is(kind string) bool { return h.find(kind) != nil }

func (h hits) delay() time.Duration {
	if r := h.find(faultSlow); r != nil {
		return r.duration(90 * time.Second)
	}
	return 0
}

const htmlPage = `<!DOCTYPE html><html><head><title>Marketplace</title></head><body><h1>Something went wrong</h1></body></html>`

func page(status int) answer {
	return answer{status: status, kind: "text/html; charset=utf-8", body: []byte(htmlPage)}
}

// lateWords are errors after an effect, as services word them. Some hold words of
// a refusal (balance, capacity, bid); none of them says that nothing happened.
var lateWords = [...]string{ // read only
	"Internal server error",
	"Something went wrong",
	"An error occurred",
	"An error occurred. Please try again later",
	"Failed to deploy server",
	"Failed to deploy server: no reply from the hostnode's available worker",
	"connect ECONNREFUSED 10.20.0.7:8006",
	"read ECONNRESET",
	"Request failed with status code 502",
	"Cannot read properties of undefined (reading 'balance')",
	"Could not update the account's balance",
	"Failed to record the bid",
	"Capacity cache could not be refreshed",
	"Host is not available for monitoring",
	"Invalid response from hostnode",
	"Too many connections",
	"Lock wait timeout exceeded; try restarting transaction",
	"Unhandled exception: a deployment is already running",
	"unauthorized: invalid token for the monitoring service",
}

// late is an error after the effect.
func (f *face) late(kind string) answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	if kind == faultLateHTML {
		codes := [...]int{http.StatusOK, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout, 520}
		return page(codes[f.faults.words.IntN(len(codes))])
	}
	body := object{"error": lateWords[f.faults.words.IntN(len(lateWords))]}
	if f.faults.words.IntN(4) == 0 {
		body["success"] = false
	}
	return reply(http.StatusInternalServerError, body)
}

// instead is the answer of a call that has no effect.
func (h hits) instead() (answer, bool) {
	for _, r := range h {
		switch r.kind {
		case fault429:
			return reply(http.StatusTooManyRequests, object{"error": "Too many requests"}), true
		case fault429Retry:
			a := reply(http.StatusTooManyRequests, object{"error": "Too many requests"})
			wait := r.value
			if wait == "" {
				wait = "30"
			}
			a.header = http.Header{"Retry-After": {wait}}
			return a, true
		case faultJSON500:
			return reply(http.StatusInternalServerError, object{"error": "Internal server error"}), true
		case faultHTML500:
			return page(http.StatusInternalServerError), true
		case faultHTML200:
			return page(http.StatusOK), true
		case faultAuth:
			return ok(object{"success": false, "error": "Invalid API key or token"}), true
		}
	}
	return answer{}, false
}

// afterValidate lets rivals take the pool just above an accepted bid.
func (c *call) afterValidate(q market.Question) {
	r := c.hit.find(faultPriceMove)
	p := c.e.pool(q.Host, q.Model)
	if r == nil || p == nil {
		return
	}
	each := q.Bid.PerGPU(q.Shape.GPUs).Add(2 * market.Cent).CeilCent()
	for range p.total {
		c.e.join(p, &rival{gpus: 1}, each, r.duration(30*time.Minute))
	}
	c.e.settle(p)
}
