package tensordock

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/secret"
)

const page = "<!DOCTYPE html><html><title>Oops</title></html>"

// faults are ways of not answering; each with what a read and a write make of it.
var faults = map[string]struct {
	handle      http.HandlerFunc
	read, write market.Class
	attempts    int // of a read
}{
	"HTML with 200":        {reply(200, page), market.ClassShapeChanged, market.ClassAmbiguous, 3},
	"HTML with 500":        {reply(500, page), market.ClassUnavailable, market.ClassAmbiguous, 3},
	"HTML with 404":        {reply(404, page), market.ClassUnavailable, market.ClassAmbiguous, 3},
	"a word with 200":      {reply(200, "OK"), market.ClassShapeChanged, market.ClassAmbiguous, 3},
	"nothing with 200":     {reply(200, ""), market.ClassShapeChanged, market.ClassAmbiguous, 3},
	"half an object":       {reply(200, `{"success":tr`), market.ClassShapeChanged, market.ClassAmbiguous, 3},
	"502 without words":    {reply(502, `{}`), market.ClassUnavailable, market.ClassAmbiguous, 3},
	"500 in vague words":   {reply(500, `{"error":"Internal Server Error"}`), market.ClassUnavailable, market.ClassAmbiguous, 3},
	"504 in words":         {reply(504, `{"error":"upstream timed out"}`), market.ClassUnavailable, market.ClassAmbiguous, 3},
	"a redirect":           {http.RedirectHandler("http://127.0.0.1:9/elsewhere", http.StatusTemporaryRedirect).ServeHTTP, market.ClassUnavailable, market.ClassAmbiguous, 3},
	"a broken connection":  {hangUp, market.ClassUnavailable, market.ClassAmbiguous, 3},
	"a cut answer":         {cutOff, market.ClassUnavailable, market.ClassAmbiguous, 3},
	"401":                  {reply(401, page), market.ClassUnauthorized, market.ClassUnauthorized, 1},
	"403":                  {reply(403, `{"error":"Forbidden"}`), market.ClassUnauthorized, market.ClassUnauthorized, 1},
	"a wrong key with 200": {reply(200, `{"success":false,"error":"Invalid API key or token"}`), market.ClassUnauthorized, market.ClassUnauthorized, 1},
	"429":                  {reply(429, `{"error":"slow down"}`), market.ClassRateLimited, market.ClassRateLimited, 3},
	"an empty account":     {reply(400, `{"error":"Insufficient balance available: need at least $1"}`), market.ClassRefused, market.ClassRefused, 1},
}

func reply(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

func hangUp(w http.ResponseWriter, _ *http.Request) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
}

func cutOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"success":true,`))
}

func TestEveryFaultHasTheClassThatSaysWhatToDoNext(t *testing.T) {
	for _, fault := range slices.Sorted(maps.Keys(faults)) {
		want := faults[fault]
		for name, op := range operations {
			t.Run(fault+"/"+name, func(t *testing.T) {
				f := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) { want.handle(w, r) })
				var calls []Call
				c, _ := client(t, f.URL, func(o *Options) { o.Observe = func(c Call) { calls = append(calls, c) } })
				err := op.call(bg, c)
				expected, attempts := want.read, want.attempts
				if op.write {
					expected, attempts = want.write, 1
				}
				if expected == market.ClassRefused && strings.HasPrefix(name, "Validate") {
					expected = "" // a refusal is a verdict
				} else if expected == market.ClassRefused && name == "AuthTest" {
					expected = market.ClassUnauthorized
				}
				class(t, err, expected)
				eq(t, "requests", f.count(), attempts)
				eq(t, "observed", len(calls), attempts)
				for i, c := range calls {
					eq(t, "attempt", c.Attempt, i+1)
					eq(t, "api", c.API, op.api)
					eq(t, "a class", c.Class != "", true)
				}
			})
		}
	}
}

func TestAWriteThatFoundNoServerWasNotSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	c, _ := client(t, "http://"+l.Addr().String())
	_, err = c.Deploy(bg, testOrder)
	class(t, err, market.ClassUnavailable)
	_, err = c.Hosts(bg)
	class(t, err, market.ClassUnavailable)

	plain := answers(t, 200, `{"success":true}`)
	c, _ = client(t, strings.Replace(plain.URL, "http:", "https:", 1))
	class(t, c.Delete(bg, "vm-1"), market.ClassUnavailable)
	eq(t, "requests", plain.count(), 0)

	own := errors.New("own transport")
	for _, e := range []struct {
		err  error
		want market.Class
	}{
		{&net.OpError{Op: "dial", Err: own}, market.ClassUnavailable},
		{&net.DNSError{Err: "no such host"}, market.ClassUnavailable},
		{&net.OpError{Op: "read", Err: own}, market.ClassAmbiguous},
		{own, market.ClassAmbiguous},
	} {
		c, _ = client(t, plain.URL, func(o *Options) {
			o.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return nil, e.err })
		})
		class(t, c.Delete(bg, "vm-1"), e.want)
	}
}

func TestAWriteThatTimesOutOrIsCancelledAfterItWasSentIsAmbiguous(t *testing.T) {
	sent, release := make(chan struct{}, 1), make(chan struct{})
	f := serve(t, func(http.ResponseWriter, *http.Request, int) { sent <- struct{}{}; <-release })
	defer close(release)
	c, _ := client(t, f.URL, func(o *Options) {
		o.Clock, o.WriteTimeout, o.MarketplaceRPS = clock.System{}, time.Second, 1000 // long enough to connect on a busy machine
	})
	_, err := c.Deploy(bg, testOrder)
	class(t, err, market.ClassAmbiguous)
	eq(t, "deadline", errors.Is(err, context.DeadlineExceeded), true)
	<-sent

	c, _ = client(t, f.URL)
	ctx, cancel := context.WithCancel(bg)
	go func() { <-sent; cancel() }()
	_, err = c.Deploy(ctx, testOrder)
	class(t, err, market.ClassAmbiguous)
	eq(t, "cancelled", errors.Is(err, context.Canceled), true)
	eq(t, "requests", f.count(), 2)

	_, err = c.Deploy(ctx, testOrder)
	class(t, err, market.ClassUnavailable) // cancelled before it could be sent
	eq(t, "requests", f.count(), 2)
}

func TestAWriteOnAConnectionThatDiedIsNotReplayed(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 1 {
			_, _ = w.Write([]byte(`{"success":true,"balance":1}`))
			return
		}
		hangUp(w, r)
	})
	// One transport for both, as a caller may give it: the write finds a kept
	// connection, which dies under it.
	tr := newTransport()
	c, _ := client(t, f.URL, func(o *Options) { o.Transport = tr })
	if _, err := c.Balance(bg); err != nil {
		t.Fatal(err)
	}
	_, err := c.Deploy(bg, testOrder)
	class(t, err, market.ClassAmbiguous)
	eq(t, "requests", f.count(), 2)
}

func TestNetHTTPIsGivenNoWayToSendAWriteTwice(t *testing.T) {
	eachOperation(t, func(t *testing.T, _ string, op operation) {
		asked := 0
		c, _ := client(t, "http://127.0.0.1:1", func(o *Options) {
			o.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				asked++
				if op.write && (r.GetBody != nil || r.Header.Get("Idempotency-Key")+r.Header.Get("X-Idempotency-Key") != "") {
					t.Error("the request can be replayed")
				}
				return nil, errors.New("enough")
			})
		})
		class(t, op.call(bg, c), map[bool]market.Class{true: market.ClassAmbiguous, false: market.ClassUnavailable}[op.write])
		eq(t, "attempts", asked, map[bool]int{true: 1, false: maxAttempts}[op.write])
	})
}

func TestEveryWriteHasAConnectionOfItsOwn(t *testing.T) {
	f := answers(t, 200, `{"success":true,"balance":1}`)
	c, _ := client(t, f.URL)
	for range 2 {
		if _, err := c.Balance(bg); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(bg, "vm-1"); err != nil {
			t.Fatal(err)
		}
	}
	from := func(i int) string { return f.calls[i].RemoteAddr }
	eq(t, "reads share one", from(0), from(2))
	if from(1) == from(0) || from(3) == from(0) || from(1) == from(3) {
		t.Errorf("writes came from %s and %s, reads from %s", from(1), from(3), from(0))
	}
}

func TestARefusalsWordsSayWhatToDoNext(t *testing.T) {
	for _, c := range []struct {
		verb verb
		code int
		text string
		want market.Class
	}{
		{verbStop, 500, "Machine is stopped, therefore it cannot be stopped", market.ClassDone},
		{verbStop, 500, "Machine is stoppeddisassociated, therefore it cannot be stopped", market.ClassDone},
		{verbRelease, 500, "Machine is stopped, therefore it cannot be stopped", market.ClassRefused},
		{verbStop, 500, "Machine is outbid, therefore it cannot be stopped", market.ClassRefused},
		{verbStart, 500, "Machine is running, therefore it cannot be started", market.ClassDone},
		{verbStart, 500, "Machine is outbid, therefore it cannot be started", market.ClassRefused},
		{verbStart, 409, "Instance is already running", market.ClassDone},
		{verbStart, 400, "Instance must be stopped before starting", market.ClassDone},
		{verbDelete, 200, "This server is already terminated", market.ClassDone},
		{verbDelete, 500, "Machine is terminated, therefore it cannot be deleted", market.ClassDone},
		{verbDelete, 500, "Machine is relocating, therefore it cannot be deleted", market.ClassRefused},
		{verbStart, 200, "already terminated", market.ClassRefused},
		{verbRead, 200, "already terminated", market.ClassNotFound},
		{verbDelete, 404, "", market.ClassNotFound},
		{verbDelete, 200, "Server not found", market.ClassNotFound},
		{verbRead, 200, "Server does not exist", market.ClassNotFound},
		{verbDelete, 500, "Could not detach the disk", market.ClassAmbiguous},
		{verbDelete, 200, "Could not detach the disk", market.ClassRefused},
		{verbBuy, 200, "Not enough capacity on this hostnode", market.ClassNoCapacity},
		{verbBuy, 400, "No available nodes found", market.ClassNoCapacity},
		{verbBuy, 500, "Insufficient resources", market.ClassNoCapacity},
		{verbBuy, 400, "Hostnode unavailable", market.ClassNoCapacity},
		{verbBuy, 400, "No available public IPs on hostnode", market.ClassNoCapacity},
		{verbBuy, 400, "External port 30022 is already taken", market.ClassNoCapacity},
		{verbBuy, 400, "Hostnode is offline", market.ClassNoCapacity},
		{verbBuy, 400, "You would be outbid at this price", market.ClassBidRefused},
		{verbBuy, 400, "Price is too low", market.ClassBidRefused},
		{verbBuy, 400, "vcpus must be even", market.ClassRefused},
		{verbBuy, 400, "SSH port (22) must be forwarded for Ubuntu VMs", market.ClassRefused},
		{verbBuy, 400, "Your balance is too low, need at least $1", market.ClassRefused},
		{verbBuy, 400, "Invalid SSH key", market.ClassRefused},
		{verbBuy, 200, "Unauthorized", market.ClassUnauthorized},
		{verbDelete, 200, "Too many requests", market.ClassRateLimited},
		{verbBuy, 500, "unexpected error during deployment", market.ClassAmbiguous},
		{verbBuy, 200, "unexpected error during deployment", market.ClassRefused},
		{verbRead, 500, "something broke", market.ClassUnavailable},
		{verbRead, 400, "something broke", market.ClassRefused},
		{verbBuy, 408, "", market.ClassAmbiguous},
	} {
		if got := classify(c.verb, c.code, c.text); got != c.want {
			t.Errorf("verb %d, %d %q: %q, want %q", c.verb, c.code, c.text, got, c.want)
		}
	}
}

func TestAServersErrorIsANoOnlyInWordsThatNothingElseCanMean(t *testing.T) {
	nos := map[string]market.Class{
		"Insufficient balance": market.ClassRefused, "Your balance is too low, need at least $1": market.ClassRefused,
		"Not enough credits": market.ClassRefused, "Funds are insufficient": market.ClassRefused,
		"Bid is too low": market.ClassBidRefused, "Your price is below the minimum": market.ClassBidRefused,
		"Bid must be at least $0.41": market.ClassBidRefused, "You must bid higher": market.ClassBidRefused,
		"Minimum bid is $0.35": market.ClassBidRefused, "You would be outbid at this price": market.ClassBidRefused,
		"Insufficient resources": market.ClassNoCapacity, "Not enough GPUs on this hostnode": market.ClassNoCapacity,
		"Not enough free GPU capacity.": market.ClassNoCapacity, "No available nodes found": market.ClassNoCapacity,
		"No GPUs available": market.ClassNoCapacity, "No available public IPs on hostnode": market.ClassNoCapacity,
		"Hostnode unavailable": market.ClassNoCapacity, "Hostnode is offline": market.ClassNoCapacity, "Out of stock": market.ClassNoCapacity,
		"External port 30022 is already taken": market.ClassNoCapacity,
		"Missing parameter: hostnode":          market.ClassRefused, "Invalid SSH key": market.ClassRefused, "gpu_count is required": market.ClassRefused,
		"vcpus must be even": market.ClassRefused, "SSH port (22) must be forwarded for Ubuntu VMs": market.ClassRefused,
		"Machine is relocating, therefore it cannot be modified": market.ClassRefused,
	}
	for text, want := range nos {
		for _, q := range []verb{verbBuy, verbChange} {
			if got := classify(q, 500, text); got != want {
				t.Errorf("verb %d, 500 %q: %q, want %q", q, text, got, want)
			}
		}
	}
	for _, text := range []string{
		"Something went wrong", "An error occurred", "Failed to deploy server", "Failed to deploy: not enough resources available", "connect ECONNREFUSED 10.0.0.7:8006",
		"Failed to update the billing record", "Load balancer is full", "Could not save the bid", "Bid accepted, notification pending",
		"Service not available", "Resource temporarily unavailable", "Upstream node is full of requests", "No host key verified", "VM created, but out of stock",
		"Cannot read properties of undefined (reading 'balance')", "Invalid response from hostnode", "Missing price in reply", "Invalid hostnode response",
		"Not authenticated to the cluster: invalid token", "Unauthorized", "Too many requests to libvirt", "Server not found", "Hostnode does not exist",
		"A deployment is already running", "Machine is created, therefore billing is pending", "payment required", "capacity", "availability", "bid", "x", "",
	} {
		for _, q := range []verb{verbBuy, verbChange, verbDelete} {
			if got := classify(q, 500, text); got != market.ClassAmbiguous {
				t.Errorf("verb %d, 500 %q: %q", q, text, got)
			}
		}
		if got := classify(verbBuy, 400, text); got == market.ClassAmbiguous {
			t.Errorf("400 %q: %q", text, got)
		}
		if got := classify(verbRead, 500, text); got == market.ClassAmbiguous {
			t.Errorf("a read, 500 %q: %q", text, got)
		}
	}
}

func TestTheStatusOrTheBodysOwnOneMakesItAServersError(t *testing.T) {
	for _, c := range []struct {
		code int
		body string
		want market.Class
	}{
		{500, `{"error":"Something went wrong"}`, market.ClassAmbiguous},
		{500, `{"success":false,"error":"Something went wrong"}`, market.ClassAmbiguous},
		{503, `{"errors":[{"title":"Failed","detail":"to deploy the machine"}]}`, market.ClassAmbiguous},
		{200, `{"error":"Something went wrong","status":500}`, market.ClassAmbiguous},
		{200, `{"success":false,"error":"Something went wrong"}`, market.ClassRefused},
		{400, `{"error":"Failed to deploy server"}`, market.ClassRefused},
		{200, `{"error":"No available nodes found","status":400}`, market.ClassNoCapacity},
		{500, `{"success":false,"error":"Insufficient resources"}`, market.ClassNoCapacity},
	} {
		f := answers(t, c.code, c.body)
		cl, _ := client(t, f.URL)
		for _, name := range []string{"Deploy", "DeployInstant", "ContainerDeploy", "CreateInstance"} {
			if got := market.ClassOf(operations[name].call(bg, cl)); got != c.want {
				t.Errorf("%s, %d %s: %q, want %q", name, c.code, c.body, got, c.want)
			}
		}
	}
}

func TestEveryShapeOfAnErrorIsAFailure(t *testing.T) {
	for body, want := range map[string]string{
		`{"success":false,"error":"such bad luck"}`:                            "such bad luck",
		`{"success":"false","error":"such bad luck"}`:                          "such bad luck",
		`{"error":"such bad luck"}`:                                            "such bad luck",
		`{"success":false,"message":"such bad luck"}`:                          "such bad luck",
		`{"error":{"code":7,"message":"such bad luck"}}`:                       "such bad luck",
		`{"status":400,"error":"such bad luck"}`:                               "such bad luck",
		`{"data":{"status":400,"error":"such bad luck"}}`:                      "such bad luck",
		`{"errors":[{"status":"400","title":"such bad","detail":"luck"}]}`:     "such bad luck",
		`[{"code":"custom","message":"such bad luck","path":["data","gpus"]}]`: "such bad luck data.gpus",
		`{"success":false}`:                                                    "HTTP OK",
		`{"success":"0"}`:                                                      "HTTP OK",
	} {
		_, f := judge(request{verb: verbDelete}, answer{code: 200, body: []byte(body)})
		if f == nil || f.text != want || f.class != market.ClassRefused {
			t.Errorf("%s: %+v", body, f)
		}
	}
	for _, body := range []string{`{"success":true}`, `{"success":"true"}`, `{}`, `{"success":true,"error":null}`, `{"success":1,"error":""}`, `{"error":false,"data":{"status":"running"}}`} {
		if _, f := judge(request{verb: verbDelete}, answer{code: 200, body: []byte(body)}); f != nil {
			t.Errorf("%s: %+v", body, f)
		}
	}
	_, f := judge(request{verb: verbBuy}, answer{code: 200, body: []byte(`{"success":true,"error":"but something"}`)})
	if f == nil || f.class != market.ClassAmbiguous {
		t.Errorf("success and error at once: %+v", f)
	}
}

func TestAnAcceptedDeployWithoutAnIDIsAmbiguous(t *testing.T) {
	f := answers(t, 200, `{"success":true}`)
	c, _ := client(t, f.URL)
	_, err := c.Deploy(bg, testOrder)
	class(t, err, market.ClassAmbiguous)
	_, err = c.createInstance(bg, testV2Order)
	class(t, err, market.ClassAmbiguous)
	eq(t, "requests", f.count(), 2)
}

func TestAnAnswerBeyondItsLimitIsGivenUp(t *testing.T) {
	f := answers(t, 200, `{"success":true,"x":"`+strings.Repeat("y", answerLimit)+`"}`)
	c, _ := client(t, f.URL)
	_, err := c.Instances(bg)
	class(t, err, market.ClassShapeChanged)
	class(t, c.Delete(bg, "vm-1"), market.ClassAmbiguous)
	if _, err := c.Hosts(bg); err == nil || strings.Contains(err.Error(), "too long") {
		t.Errorf("the limit of the hosts is larger: %v", err)
	}
}

func TestOrdersThatMustNotBeSentAreNot(t *testing.T) {
	f := answers(t, 200, `{"success":true,"server":"x"}`)
	c, _ := client(t, f.URL)
	for name, spoil := range map[string]func(*market.Order){
		"spot without a bid":  func(o *market.Order) { o.Bid = 0 },
		"capacity left open":  func(o *market.Order) { o.Capacity = market.CapacityUnknown },
		"no name":             func(o *market.Order) { o.Name = "" },
		"no host":             func(o *market.Order) { o.Host = "" },
		"no GPUs":             func(o *market.Order) { o.Shape.GPUs = 0 },
		"no way to log in":    func(o *market.Order) { o.Password, o.SSHKey = secret.String{}, "" },
		"nothing to store on": func(o *market.Order) { o.Shape.Storage = 0 },
	} {
		o := testOrder
		spoil(&o)
		if _, err := c.Deploy(bg, o); market.ClassOf(err) != market.ClassRefused {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"delete": c.Delete(bg, ""), "start": c.Start(bg, ""), "v2 delete": c.DeleteInstance(bg, ""), "container": c.ContainerStop(bg, ""),
		"spot instant": drop(c.Deploy(bg, via(testOrder, market.ViaInstant, "m"))),
		"spot by v2":   drop(c.Deploy(bg, via(testOrder, market.ViaV2, ""))),
		"no machine":   drop(c.Deploy(bg, via(testOrder, market.ViaInstant, ""))),
		"both places":  drop(c.createInstance(bg, instanceOrder{Name: "n", Image: "i", Model: "m", Shape: testShape, Location: "a", Host: "b", SSHKey: "k"})),
		"free rebid":   drop(c.ValidateExisting(bg, "vm", 0)),
		"no rate":      drop(c.ContainerDeploy(bg, ContainerOrder{Name: "a", Image: "b", Replicas: 1, Models: []market.GPUModel{"m"}})),
		"no month":     drop(c.Summary(bg, "May")),
	} {
		if market.ClassOf(err) != market.ClassRefused {
			t.Errorf("%s: %v", name, err)
		}
	}
	eq(t, "requests", f.count(), 0)
}

func TestWithoutCredentialsOnlyPublicListsAreAsked(t *testing.T) {
	f := answers(t, 200, `{"success":true,"hostnodes":{},"data":{"locations":[]}}`)
	eachOperation(t, func(t *testing.T, name string, op operation) {
		c, _ := client(t, f.URL, func(o *Options) { o.Key, o.Token = secret.String{}, secret.String{} })
		before := f.count()
		err := op.call(bg, c)
		switch name {
		case "Hosts", "Locations", "Instants":
			class(t, err, "")
			eq(t, "credentials", f.last().URL.RawQuery+f.last().Header.Get("Authorization"), "")
		case "Host": // public too, but not in this answer
			class(t, err, market.ClassShapeChanged)
		default:
			class(t, err, market.ClassUnauthorized)
			eq(t, "requests", f.count(), before)
		}
	})
}

func TestNoErrorCallOrPrintShowsASecret(t *testing.T) {
	forms := []string{testKey, testToken, testPassword, "hidden-in-cloud-init", "hidden-in-env"}
	for _, s := range slices.Clone(forms) {
		forms = append(forms, url.QueryEscape(s), url.PathEscape(s), quoted(s, true), quoted(s, false), strings.ToUpper(s), strings.ToLower(url.QueryEscape(s)))
	}
	echoes := map[string]http.HandlerFunc{
		"HTML": func(w http.ResponseWriter, r *http.Request) { _, _ = fmt.Fprintf(w, "<html>%v %s", r.Form, r.URL) },
		"words": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, r.Form.Encode()+r.Header.Get("Authorization"), 400)
		},
		"JSON form": func(w http.ResponseWriter, r *http.Request) {
			echoJSON(w, 400, r.Form.Encode()+" "+r.Header.Get("Authorization"))
		},
		"JSON": func(w http.ResponseWriter, r *http.Request) { echoJSON(w, 200, fmt.Sprint(r.Form, r.URL, r.Header)) },
		"upper": func(w http.ResponseWriter, r *http.Request) {
			echoJSON(w, 500, strings.ToUpper(fmt.Sprint(r.Form, r.Header)))
		},
		"long": func(w http.ResponseWriter, r *http.Request) {
			echoJSON(w, 400, strings.Repeat(r.Form.Get("api_token")+r.Form.Get("password")+"  ", 99))
		},
		"hang up": hangUp,
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/?"+r.Form.Encode(), http.StatusFound)
		},
	}
	for name, echo := range echoes {
		eachOperation(t, func(t *testing.T, opName string, op operation) {
			f := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) { echo(w, r) })
			var mu sync.Mutex
			var seen []any
			var opts Options
			c, _ := client(t, f.URL, func(o *Options) {
				o.Observe = func(call Call) { mu.Lock(); seen = append(seen, call); mu.Unlock() }
				opts = *o
			})
			err := op.call(bg, c)
			verdict, _ := c.ValidateNew(bg, testQuestion)
			seen = append(seen, err, errors.Unwrap(err), c, *c, c.Reader, *c.Reader, opts, &opts, verdict)
			for _, x := range seen {
				for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
					text := fmt.Sprintf(format, x)
					for _, s := range forms {
						if strings.Contains(text, s) {
							t.Fatalf("%s, %s: %T prints %q: %s", name, opName, x, s, text)
						}
					}
				}
			}
			if err != nil && (len(err.Error()) > maxDetail+80 || strings.ContainsAny(err.Error(), "\n\r\t")) {
				t.Errorf("not one bounded line: %q", err)
			}
		})
	}
}

func echoJSON(w http.ResponseWriter, code int, text string) {
	w.WriteHeader(code)
	_, _ = fmt.Fprintf(w, `{"error":"%s"}`, quoted(text, false))
}

func TestASecretOfSeveralLinesIsHiddenBeforeLinesAreJoined(t *testing.T) {
	s := newScrubber("one\ntwo words").with([]string{"more", "no", ""})
	eq(t, "line", s.line("a one\ntwo words\tb MORE c\x00no"), "a [redacted] b [redacted] c no")
	eq(t, "bounded", len(s.line(strings.Repeat("é", 500))) <= maxDetail, true)
	eq(t, "nothing to hide", newScrubber("", "").line("x  y"), "x y")
}

func TestAURLErrorLosesItsQuery(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) { hangUp(w, r) })
	c, _ := client(t, f.URL)
	_, err := c.Hosts(bg)
	var u *url.Error
	if errors.As(err, &u) || strings.Contains(err.Error(), "api_key") || err == nil {
		t.Errorf("the URL is still there: %v", err)
	}
}

func TestBadOptionsAreRefusedWithoutRepeatingThem(t *testing.T) {
	for name, o := range map[string]Options{
		"password in the URL": {MarketplaceURL: "https://me:pass-w0rd@example.test"},
		"no scheme":           {InstancesURL: "pass-w0rd"},
		"a query":             {InstancesURL: "https://x.test/?k=pass-w0rd"},
		"too fast":            {MarketplaceRPS: 1001},
		"backwards":           {InstancesRPM: -1},
		"no time":             {ReadTimeout: -1},
		"line break":          {Token: secret.New("pass-w0rd\n")},
	} {
		_, err := NewReader(o)
		if err == nil || strings.Contains(err.Error(), "pass-w0rd") {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := NewClient(o); err == nil {
			t.Errorf("%s: a client was made", name)
		}
	}
	for _, raw := range []string{"https://x.test", "https://x.test/", "https://x.test/api/v0", "https://x.test/api/v0/", "https://x.test/api/v2"} {
		got, err := Options{}.origin("URL", raw, "")
		if err != nil || got != "https://x.test" {
			t.Errorf("%s: %q, %v", raw, got, err)
		}
	}
}

func via(o market.Order, by market.Via, instant string) market.Order {
	o.Via, o.Instant = by, instant
	return o
}
