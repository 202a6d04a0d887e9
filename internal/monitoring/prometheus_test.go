package monitoring

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// server is a running Prometheus.
type server struct {
	*process
	url string
}

// prometheus starts a server with a configuration and a folder of data, and waits until it
// answers.
func prometheus(t testing.TB, config, data string) *server {
	t.Helper()
	addr := freeAddress(t)
	cmd := exec.Command(tool(t.(*testing.T), "prometheus"), "--config.file="+config, "--storage.tsdb.path="+data,
		"--storage.tsdb.retention.time=50y", "--web.listen-address="+addr, "--web.enable-lifecycle", "--log.level=warn")
	s := &server{process: start(t, cmd), url: "http://" + addr}
	s.ready(t, s.url+"/-/ready")
	return s
}

// unready says why a server does not answer; "" if it does.
func unready(url string) string {
	res, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return res.Status
	}
	return ""
}

// series is one series of an answer: its newest value, and how many there are.
type series struct {
	labels map[string]string
	value  float64
	values int
	times  []time.Time
}

// longest is how long it was there without a gap, where it was asked for in steps.
func (s *series) longest(step time.Duration) (most time.Duration) {
	var since time.Time
	for i, at := range s.times {
		if i == 0 || at.Sub(s.times[i-1]) > step {
			since = at
		}
		most = max(most, at.Sub(since))
	}
	return most
}

// query asks for one moment.
func (s *server) query(t testing.TB, expr string, at time.Time) []series {
	t.Helper()
	return s.ask(t, "query", url.Values{"query": {expr}, "time": {strconv.FormatInt(at.Unix(), 10)}})
}

// queryRange asks for a stretch of time, as a panel does.
func (s *server) queryRange(t testing.TB, expr string, from, to time.Time, step time.Duration) []series {
	t.Helper()
	return s.ask(t, "query_range", url.Values{
		"query": {expr}, "start": {strconv.FormatInt(from.Unix(), 10)}, "end": {strconv.FormatInt(to.Unix(), 10)}, "step": {step.String()},
	})
}

func (s *server) ask(t testing.TB, what string, v url.Values) (out []series) {
	t.Helper()
	var answer struct {
		ResultType string
		Result     json.RawMessage
	}
	s.get(t, "/api/v1/"+what+"?"+v.Encode(), &answer)
	if answer.ResultType == "scalar" {
		var point [2]any
		must(t, json.Unmarshal(answer.Result, &point))
		return []series{{value: number(t, point[1]), values: 1}}
	}
	var found []struct {
		Metric map[string]string
		Value  [2]any
		Values [][2]any
	}
	must(t, json.Unmarshal(answer.Result, &found))
	for _, f := range found {
		if len(f.Values) == 0 {
			f.Values = [][2]any{f.Value}
		}
		one := series{labels: f.Metric, value: number(t, f.Values[len(f.Values)-1][1]), values: len(f.Values)}
		for _, v := range f.Values {
			one.times = append(one.times, time.UnixMilli(int64(1000*number(t, v[0]))))
		}
		out = append(out, one)
	}
	return out
}

func number(t testing.TB, v any) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(fmt.Sprint(v), 64)
	must(t, err)
	return f
}

// get reads the data of an answer of Prometheus' API.
func (s *server) get(t testing.TB, path string, into any) {
	t.Helper()
	res, err := http.Get(s.url + path)
	must(t, err)
	defer res.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: into}
	must(t, json.NewDecoder(res.Body).Decode(&answer))
	if answer.Status != "success" {
		t.Fatalf("%s: %s", path, answer.Error)
	}
}

// dayStart is when the day begins that day plays: a Monday.
var dayStart = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// dayEnd is the last moment of which there is data.
var dayEnd = dayStart.Add(24 * time.Hour)

var played struct {
	sync.Once
	server *server
}

// day is a Prometheus that has scraped a daemon for a day, every minute: the fleet of
// testdata/policies.yaml on a simulated market in virtual time. The recording rules are
// evaluated over it. Queries about it must name a time in it.
func day(t *testing.T) *server {
	t.Helper()
	serversWanted(t)
	played.Do(func() { played.server = playDay(t) })
	if played.server == nil {
		t.Fatal("the day could not be played: see the first test that wanted it")
	}
	return played.server
}

func playDay(t *testing.T) *server {
	t.Helper()
	data, history, promtool := shared(t, "data"), shared(t, "history.om"), tool(t, "promtool")
	run(t, tdscaler(t), "demo", "--config", dayPolicies(t), "--days", "1", "--start", dayStart.Format(time.RFC3339), "--metrics", history)
	run(t, promtool, "tsdb", "create-blocks-from", "openmetrics", "--quiet", "--max-block-duration=24h", history, data)
	must(t, os.Remove(history))
	config := write(t, shared(t, "empty.yml"), "global: {}\n")
	s := prometheus(t, config, data)
	if rules := ruleFiles(t); len(rules) > 0 {
		args := []string{
			"tsdb", "create-blocks-from", "rules", "--url=" + s.url, "--output-dir=" + data, "--eval-interval=1m",
			fmt.Sprintf("--start=%d", dayStart.Add(time.Minute).Unix()), fmt.Sprintf("--end=%d", dayEnd.Unix()),
		}
		run(t, promtool, append(args, rules...)...)
		must(t, s.stop()) // it looks for new blocks when it starts
		s = prometheus(t, config, data)
	}
	atExit = append(atExit, s.stop)
	return s
}

// ruleFiles are the rules that are shipped.
func ruleFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(root("deploy", "prometheus", "rules", "*.yaml"))
	must(t, err)
	return files
}

// dayPolicies is the day's file, with its signal served from here.
func dayPolicies(t testing.TB) string {
	t.Helper()
	queue := signalServer()
	t.Cleanup(queue.Close)
	text := strings.ReplaceAll(read(t, filepath.Join("testdata", "policies.yaml")), "SIGNALS", queue.URL)
	return write(t, shared(t, "policies.yaml"), text)
}

// signalServer answers as a Prometheus does, with a queue that grows and is worked off, and
// fails now and then.
func signalServer() *httptest.Server {
	var asked atomic.Int64
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := asked.Add(1)
		if n%500 > 485 {
			http.Error(w, "out of order", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"scalar","result":[0,"%d"]}}`, n*7%450)
	}))
}
