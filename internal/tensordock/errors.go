package tensordock

import (
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// verb is what a request asks for: it decides whether it may be repeated and
// what a refusal's words mean.
type verb int

const (
	verbRead    verb = iota
	verbAsk          // soft validation of a bid: a read
	verbAuth         // test of the credentials: a read
	verbStart        // from here on: writes
	verbStop         // keeping the GPUs
	verbRelease      // stop, giving the GPUs back
	verbDelete
	verbBuy
	verbChange // size, bid, replicas
)

func (v verb) writes() bool { return v >= verbStart }

// auctions: a refusal may be about capacity or price.
func (v verb) auctions() bool {
	return v == verbAsk || v == verbStart || v == verbBuy || v == verbChange
}

// failure is why an attempt came to nothing. Its text is not yet redacted.
type failure struct {
	class market.Class
	text  string
	hint  market.Maybe[market.Rate]
	cause error
	again bool          // the same read may succeed a little later
	after time.Duration // not earlier than this
}

// err makes the error that leaves the package.
func (f *failure) err(q request, s *scrubber) *market.Error {
	return &market.Error{Op: q.op, Class: f.class, Detail: s.line(f.text), Hint: f.hint, Err: s.cause(f.cause)}
}

// errBadRequest marks refusals by HTTP 400: they certainly had no effect.
var errBadRequest = errors.New("HTTP 400")

// refuse is the error for a request that is not worth sending.
func refuse(q request, why string) *market.Error {
	return &market.Error{Op: q.op, Class: market.ClassRefused, Detail: why}
}

// complaint is what an answer says about its own success, in any of its forms.
type complaint struct {
	success market.Maybe[bool]
	text    string
	code    int // HTTP status repeated, or contradicted, in the body
	hint    market.Maybe[market.Rate]
	failed  bool
}

// complaintOf reads {success, error}, {error, status}, {errors: [...]}, the same
// below data, and the bare array of {code, message, path} of a form validator.
func complaintOf(v value) complaint {
	p := v.pick("success", "error", "errors", "status", "data", "suggested_price", "min_bid", "message", "detail", "reason")
	c := complaint{success: p[0].flag(), hint: positive(firstKnown(p[5].price(), p[6].price()))}
	data := p[4].pick("error", "errors", "status")
	c.text = firstText(issues(v), sentence(p[1]), issues(p[2]), sentence(data[0]), issues(data[1]))
	for _, status := range []value{p[3], data[2]} {
		if n, ok := status.count().Get(); ok && n >= 400 && n < 600 {
			c.code = n
		}
	}
	c.failed = c.text != "" || c.code != 0 || !c.success.Or(true)
	if c.failed {
		c.text = firstText(c.text, sentence(p[7]), sentence(p[8]), sentence(p[9]))
	}
	return c
}

// sentence is the text of an error that is a string, a list, or an object around
// one of them. It looks one object deep: an answer may be nested without end.
func sentence(v value) string {
	if v.isObject() {
		p := v.pick("message", "detail", "error")
		return firstText(plain(p[0]), plain(p[1]), plain(p[2]), string(v))
	}
	return plain(v)
}

func plain(v value) string {
	if v.isArray() {
		return issues(v)
	}
	if on, ok := v.flag().Get(); ok {
		return map[bool]string{true: "error"}[on]
	}
	return strings.TrimSpace(v.text())
}

// issues joins a list of errors; "" if it is not a list of errors.
func issues(v value) string {
	var all []string
	for item := range v.items() {
		if item.get("id").text() != "" && item.get("code", "detail", "title").isNull() {
			return ""
		}
		s := join(" ", item.get("title").text(), item.get("detail").text(), item.get("message").text(), strings.Join(item.get("path").texts(), "."))
		all = append(all, firstText(s, item.text()))
	}
	return join("; ", all...)
}

func join(sep string, parts ...string) string {
	kept := parts[:0:0]
	for _, p := range parts {
		if p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, sep)
}

func firstText(all ...string) string {
	for _, s := range all {
		if s != "" {
			return s
		}
	}
	return ""
}

func positive(m market.Maybe[market.Rate]) market.Maybe[market.Rate] {
	if r, ok := m.Get(); ok && r > 0 {
		return m
	}
	return market.Maybe[market.Rate]{}
}

var (
	inState   = regexp.MustCompile(`machine is ([a-z _-]+?),? therefore it cannot be`)
	alreadyIn = regexp.MustCompile(`already (running|started|stopped|terminated|deleted)`)
	badKey    = regexp.MustCompile(`unauthori[sz]ed|unauthenticated|authentication (failed|required)|(invalid|incorrect|wrong|missing|unknown|bad|expired|revoked|no such)\W+(\w+\W+){0,2}(api\W?(key|token)|authori[sz]ation|credentials?|bearer)|api\W?(key|token)\b.{0,30}(invalid|incorrect|wrong|missing|required|expired|revoked|not found|does not exist)`)
	noMoney   = regexp.MustCompile(`balance|funds|\bcredits?\b|deposit|need at least \$|payment|billing`)
	vague     = regexp.MustCompile(`internal (server )?error|server error|timed? ?out|timeout|gateway|unexpected error|service (is )?(temporarily )?unavailable`)
	badBid    = regexp.MustCompile(`outbid|\bbid|price .{0,40}(low|minimum|below|higher|rais|increas|least)|(minimum|min|low|higher|below).{0,20} price`)
	noRoom    = regexp.MustCompile(`capacity|availab|out of stock|\bno (free )?(node|host|resource|gpu)|resources .{0,20}(exhausted|taken|in use|used)|not enough|insufficient|ports?\b.{0,40}(taken|in use|used|occupied|allocated)|(hostnode|host|node)\b.{0,20}(offline|not online|full|reserved|unlisted|not listed)`)
	gone      = regexp.MustCompile(`not found|does not exist|doesn't exist|(no such|unknown) (virtual )?(server|machine|vm|instance|host|hostnode|container)\b`)
	tooMany   = regexp.MustCompile(`too many requests|rate.?limit`)
	// mishap marks a failure on the way, at which the machine may be there already.
	mishap = regexp.MustCompile(vague.String() + `|fail|error|exception|went wrong|econn|connect|could not|unable|undefined|not found|exist|created|deployed|launched`)
	// A bare whole number is more likely a count ("bid for 2 GPUs") than a price.
	priceInText = regexp.MustCompile(`(?:\$\s*(\d*\.?\d+)|(?:bid|price|least|minimum|higher than|above)\D{0,40}?(\d*\.\d+))`)
)

// firmNo are the phrases by which a server's error is a no for certain: money, the
// bid, room, the order itself. They are whole phrases, since single words come in
// failures after the effect too ("failed to record the bid").
var firmNo = func() *regexp.Regexp {
	const what = `(gpu |free |available |more |public )*(capacity|resources|gpus?|vcpus|ram|storage|nodes?|hosts?|hostnodes?|ips?)`
	const field = `(parameters?|fields?|name|password|ssh[ _]?key|hostnode|location|gpu[ _](model|count)|gpus|vcpus|ram|storage|operating[ _]system|image|price|price_type|((external|internal|ssh)[ _])?ports?)`
	const end = `([.,:;!]|$)`
	return regexp.MustCompile(strings.Join([]string{
		`\b(insufficient|not enough) (account )?(balance|funds|money|credits?)\b`,
		`\b(balance|funds|credits?) (is |are )?(too low|insufficient|not (enough|sufficient))\b`,
		`\bneed at least \$`,
		`\b(bid|price) (is )?(too low|below (the )?(\w+ )?minimum)\b`,
		`\b(bid|price) (must|has to|needs to|should) be (at least|higher|greater|above|raised)\b`,
		`\b(must|need to|have to) bid (higher|more|at least)\b`,
		`\bminimum (bid|price) (is|of)\b`,
		`\bwould be outbid\b`,
		`\b(insufficient|not enough|no (free|available|more)) ` + what + `( (is |are )?(available|left|found|on|at|for|in)\b|` + end + `)`,
		`\bno ` + what + ` (is |are )?(available|left)\b`,
		`\b(hostnode|gpus?|resources) (is |are )?(already )?(unavailable|not available|exhausted|taken|in use)` + end,
		`\b(hostnode|host|node) is (offline|full|reserved|unlisted|not (online|listed))` + end,
		`\bout of stock\b`,
		`\bexternal ports? (\d+ )?(is |are )?(already )?(taken|in use|used|occupied|allocated|unavailable|not available)\b`,
		`\b(invalid|missing|unsupported) (required )?` + field + end,
		`\b` + field + ` (is|are) (required|missing|invalid)\b`,
		`\b` + field + `( \(\d+\))? must be (forwarded|even|odd|at least|at most|between|one of|a|an|greater|less)\b`,
	}, "|"))
}()

// maxClassified is how much of a complaint is searched for words, in bytes.
const maxClassified = 4 << 10

// classify sorts a definite answer's complaint. In this order:
//
//	state named in the text   the asked one: done; another: refused
//	5xx to a write            ambiguous, unless its words are a firm no
//	429, 401, 403, key words  rate limited, unauthorized
//	408, 5xx in vague words   a write: ambiguous; a read: unavailable; the same without words
//	account's money           refused
//	price words, room words   bid refused, no capacity (where there is an auction)
//	404 or "not found"        not found
//	5xx                       unavailable
//	else                      refused
func classify(q verb, code int, text string) market.Class {
	s := strings.ToLower(text[:min(len(text), maxClassified)])
	server := code >= 500
	class, named := classifyState(q, s)
	switch {
	case named && (class == market.ClassDone || !server || !q.writes() || inState.MatchString(s)):
		return class
	case server && q.writes() && (!firmNo.MatchString(s) || mishap.MatchString(s)):
		// Taking it for a no would buy a second machine beside one that was made.
		return market.ClassAmbiguous
	case code == http.StatusTooManyRequests || tooMany.MatchString(s):
		return market.ClassRateLimited
	case code == http.StatusUnauthorized || code == http.StatusForbidden || badKey.MatchString(s):
		return market.ClassUnauthorized
	case code == http.StatusRequestTimeout, server && (s == "" || vague.MatchString(s)):
		return lost(request{verb: q}, "", nil).class
	case noMoney.MatchString(s):
		return market.ClassRefused
	case q.auctions() && badBid.MatchString(s):
		return market.ClassBidRefused
	case q.auctions() && noRoom.MatchString(s):
		return market.ClassNoCapacity
	case code == http.StatusNotFound || gone.MatchString(s):
		return market.ClassNotFound
	case server && !q.writes():
		return market.ClassUnavailable
	}
	return market.ClassRefused
}

// classifyState reads texts that name the machine's present state.
func classifyState(q verb, s string) (market.Class, bool) {
	var state market.Status
	if m := inState.FindStringSubmatch(s); m != nil {
		state = market.ParseStatus(m[1])
	} else if m := alreadyIn.FindStringSubmatch(s); m != nil {
		state = market.ParseStatus(strings.Replace(m[1], "started", "running", 1))
	} else if q == verbStart && strings.Contains(s, "must be stopped") {
		state = market.StatusRunning // v2's words for starting what runs
	} else {
		return "", false
	}
	switch {
	case isAsked(q, state):
		return market.ClassDone, true
	case state == market.StatusTerminated && !q.writes():
		return market.ClassNotFound, true
	}
	return market.ClassRefused, true
}

// isAsked says whether a machine in this state needs nothing more. A machine
// stopped with its GPUs is billed in full, so it does not satisfy a release.
func isAsked(q verb, s market.Status) bool {
	switch q {
	case verbStart:
		return s == market.StatusRunning
	case verbStop:
		return s == market.StatusStopped || s == market.StatusReleased
	case verbRelease:
		return s == market.StatusReleased
	case verbDelete:
		return s == market.StatusTerminated
	}
	return false
}

// hintFor is the price a refusal names, where price is what it is about.
func hintFor(q verb, class market.Class, c complaint) market.Maybe[market.Rate] {
	if !q.auctions() || c.hint.Known() {
		return c.hint
	}
	s := strings.ToLower(c.text[:min(len(c.text), maxClassified)])
	m := priceInText.FindStringSubmatch(s)
	if m == nil || class != market.ClassBidRefused || noMoney.MatchString(s) {
		return market.Maybe[market.Rate]{}
	}
	return positive(value(`"` + firstText(m[1], m[2]) + `"`).price())
}

// judge decides what an answer means before anything is read from it.
func judge(q request, a answer) (value, *failure) {
	v, ok := parse(a.body)
	switch {
	case a.code == http.StatusTooManyRequests:
		f := &failure{class: market.ClassRateLimited, text: "HTTP 429", again: true}
		if ok {
			f.text = firstText(complaintOf(v).text, f.text)
		}
		return nil, f
	case a.code == http.StatusNoContent:
		return value("{}"), nil
	case !ok:
		return nil, opaque(q, a)
	}
	c := complaintOf(v)
	code := a.code
	if code < 400 && c.code != 0 {
		code = c.code
	}
	if !c.failed && code >= 200 && code < 300 {
		return v, nil
	}
	return nil, complained(q, a, code, c)
}

// complained is a failure told in JSON.
func complained(q request, a answer, code int, c complaint) *failure {
	if q.verb.writes() && c.text != "" && c.success.Or(false) || code >= 300 && code < 400 {
		// Success and an error at once, or a redirect: it may have happened.
		return lost(q, join(" ", "contradictory answer", c.text), nil)
	}
	class := classify(q.verb, code, c.text)
	if q.verb == verbAuth && (class == market.ClassRefused || class == market.ClassNotFound) {
		class = market.ClassUnauthorized
	}
	var cause error
	if a.code == http.StatusBadRequest {
		cause = errBadRequest
	}
	return &failure{
		class: class,
		cause: cause,
		text:  firstText(c.text, "HTTP "+http.StatusText(code)),
		hint:  hintFor(q.verb, class, c),
		again: class == market.ClassUnavailable || class == market.ClassRateLimited,
	}
}

// opaque is an answer that is not JSON: a page, a fragment, a bare line.
func opaque(q request, a answer) *failure {
	text := strings.TrimSpace(string(a.body))
	page := strings.HasPrefix(text, "<") || strings.Contains(strings.ToLower(a.kind), "html")
	if page {
		text = "an HTML page instead of an answer"
	}
	switch {
	case a.code == http.StatusUnauthorized || a.code == http.StatusForbidden:
		return &failure{class: market.ClassUnauthorized, text: text}
	case a.code >= 400 && a.code < 500 && !page:
		// Who answers 4xx in plain words did not do it. A page may come from
		// anything in between and proves nothing.
		return &failure{class: classify(q.verb, a.code, text), text: firstText(text, http.StatusText(a.code))}
	case !q.verb.writes() && a.code < 300:
		// Such pages come and go, so the read is tried again first.
		return &failure{class: market.ClassShapeChanged, text: text, again: true}
	}
	return lost(q, firstText(text, "HTTP "+http.StatusText(a.code)), nil)
}

// lost is a failure that proves nothing: a write may have happened, a read is
// tried again.
func lost(q request, text string, cause error) *failure {
	if q.verb.writes() {
		return &failure{class: market.ClassAmbiguous, text: text, cause: cause}
	}
	return &failure{class: market.ClassUnavailable, text: text, cause: cause, again: true}
}

// strange is an answer in a form that is not understood.
func strange(q request, cause error) *failure {
	if q.verb.writes() {
		return &failure{class: market.ClassAmbiguous, text: cause.Error(), cause: cause}
	}
	return &failure{class: market.ClassShapeChanged, text: cause.Error(), cause: cause}
}
