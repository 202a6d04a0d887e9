package monitoring

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// living is the built daemon, which buys on the built simulator, in real time.
type living struct {
	testing.TB
	dir, addr string
	daemon    *process
}

// live starts both, and waits until there are metrics of a cycle.
func live(t *testing.T) *living {
	t.Helper()
	serversWanted(t)
	dir, err := os.MkdirTemp("", "tds") // short: a unix socket's path may have 108 bytes
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	market := freeAddress(t)
	simulator := start(t, exec.Command(tdscaler(t), "simulator", "--listen", market, "--boot", "2s", "--seed", "1"))
	t.Cleanup(func() { must(t, simulator.stop()) })
	eventually(t, 20*time.Second, func() string {
		res, err := http.Get("http://" + market)
		if err == nil {
			err = res.Body.Close()
		}
		if err != nil {
			return err.Error()
		}
		return ""
	})
	l := &living{TB: t, dir: dir, addr: freeAddress(t)}
	write(t, filepath.Join(dir, "secret"), "0123456789abcdef0123456789abcdef")
	queue := signalServer()
	t.Cleanup(queue.Close)
	config := strings.NewReplacer("MARKET", "http://"+market, "LISTEN", l.addr, "WEBHOOK", freeAddress(t), "SIGNALS", queue.URL).Replace(read(t, "testdata/live.yaml"))
	write(t, filepath.Join(dir, "policies.yaml"), config)
	l.begin()
	t.Cleanup(func() { must(t, l.daemon.stop()) })
	return l
}

func (l *living) begin() {
	l.Helper()
	cmd := exec.Command(tdscaler(l), "run", "--config", filepath.Join(l.dir, "policies.yaml"))
	cmd.Env = append(os.Environ(), "TENSORDOCK_API_KEY=key", "TENSORDOCK_API_TOKEN=token", "XDG_RUNTIME_DIR="+l.dir)
	l.daemon = start(l, cmd)
	last := ""
	eventually(l, 60*time.Second, func() string {
		if page, err := fetch("http://" + l.addr + "/metrics"); err != nil || !regexp.MustCompile(`tdscaler_cycles_total\{result="ok"\} [1-9]`).MatchString(page) {
			if said := l.daemon.last(); said != "" {
				last = said
			}
			return fmt.Sprintf("no cycle is finished: %v; it said: %s", err, last)
		}
		return ""
	})
}

// fetch reads a page as Prometheus asks for it, in the text format.
func fetch(url string) (string, error) {
	res, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return string(b), err
}

// scraped is a Prometheus with the configuration and rules that are shipped, but for
// addresses, and for seconds where they have minutes.
func (l *living) scraped(t *testing.T, alertmanager string) *server {
	t.Helper()
	dir := shared(t, "live")
	must(t, os.MkdirAll(filepath.Join(dir, "rules"), 0o700))
	for _, path := range ruleFiles(t) {
		hurried := strings.ReplaceAll(read(t, path), "        for: 5m\n", "        for: 2s\n")
		write(t, filepath.Join(dir, "rules", filepath.Base(path)), hurried)
	}
	config := strings.NewReplacer(
		"tdscaler:9877", l.addr, "alertmanager:9093", alertmanager, "localhost:9090", alertmanager,
		"scrape_interval: 15s", "scrape_interval: 1s", "scrape_timeout: 10s", "scrape_timeout: 1s", "evaluation_interval: 15s", "evaluation_interval: 1s",
	).Replace(read(t, root("deploy", "prometheus", "prometheus.yml")))
	s := prometheus(t, write(t, filepath.Join(dir, "prometheus.yml"), config), filepath.Join(dir, "data"))
	t.Cleanup(func() { must(t, s.stop()) })
	return s
}

// inbox is a webhook that keeps what Alertmanager sends.
type inbox struct {
	*httptest.Server
	mu   sync.Mutex
	mail []letter
}

type letter struct {
	path   string
	Status string
	Alerts []struct {
		Status              string
		Labels, Annotations map[string]string
	}
}

func newInbox(t *testing.T) *inbox {
	t.Helper()
	in := &inbox{}
	in.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		l := letter{path: r.URL.Path}
		if err := json.NewDecoder(r.Body).Decode(&l); err != nil {
			t.Error(err)
		}
		in.mu.Lock()
		in.mail = append(in.mail, l)
		in.mu.Unlock()
	}))
	t.Cleanup(in.Close)
	return in
}

// has finds an alert that came in.
func (in *inbox) has(path, alert, status string) (annotations map[string]string, ok bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, l := range in.mail {
		for _, a := range l.Alerts {
			if l.path == path && a.Labels["alertname"] == alert && a.Status == status {
				return a.Annotations, true
			}
		}
	}
	return nil, false
}

// atHome runs a program of an unpacked Debian package that looks for its files where the
// package would have put them: in a view of the file system in which they are.
func atHome(t *testing.T, program string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := filepath.EvalSymlinks(program)
	must(t, err)
	usr := filepath.Dir(filepath.Dir(path))
	if filepath.Base(filepath.Dir(usr)) != "prometheus-alertmanager" { // it is installed
		return exec.Command(program, args...)
	}
	const script = `mount --bind "$0/share" /usr/share && exec "$@"`
	own := []string{"--mount", "sh", "-c", script, usr, path}
	if os.Geteuid() != 0 {
		own = append([]string{"--map-root-user"}, own...)
	}
	return exec.Command("unshare", append(own, args...)...)
}

// alertmanager runs with the routes that are shipped, but for addresses and haste.
func alertmanager(t *testing.T, inbox string) (addr string) {
	t.Helper()
	dir := t.TempDir()
	addr = freeAddress(t)
	config := strings.ReplaceAll(examples(read(t, routes()), "webhook"), "http://127.0.0.1:8000", inbox)
	config = regexp.MustCompile(`(group_wait|group_interval): \w+`).ReplaceAllString(config, "$1: 1s")
	cmd := atHome(t, tool(t, "prometheus-alertmanager", "alertmanager"), "--config.file="+write(t, filepath.Join(dir, "alertmanager.yml"), config),
		"--storage.path="+dir, "--web.listen-address="+addr, "--cluster.listen-address=", "--log.level=warn")
	p := start(t, cmd)
	t.Cleanup(func() { must(t, p.stop()) })
	p.ready(t, "http://"+addr+"/-/ready")
	return addr
}

func TestADaemonThatStopsIsAPageAndOneThatIsBackIsAllClear(t *testing.T) {
	l := live(t)
	in := newInbox(t)
	s := l.scraped(t, alertmanager(t, in.URL))
	eventually(t, 30*time.Second, func() string {
		if got := s.query(t, `up{job="tdscaler"} == 1`, time.Now()); len(got) != 1 {
			return "the daemon is not scraped"
		}
		return ""
	})
	l.typesAreRight(t, s)
	time.Sleep(5 * time.Second)
	if _, told := in.has("/page", "TdscalerDown", "firing"); told {
		t.Fatal("it is told to be down while it runs")
	}
	must(t, l.daemon.stop())
	eventually(t, 60*time.Second, func() string {
		about, told := in.has("/page", "TdscalerDown", "firing")
		switch {
		case !told:
			return "nobody is told that it is down"
		case about["summary"] != "tdscaler at "+l.addr+" does not answer" || !strings.HasSuffix(about["runbook_url"], "docs/runbooks/TdscalerDown.md"):
			t.Fatalf("%v", about)
		}
		return ""
	})
	l.begin()
	eventually(t, 60*time.Second, func() string {
		if _, told := in.has("/page", "TdscalerDown", "resolved"); !told {
			return "nobody is told that it is back"
		}
		return ""
	})
}

func TestTheTrialAlertOfThePageArrives(t *testing.T) {
	serversWanted(t)
	in := newInbox(t)
	const shown = "http://127.0.0.1:9093"
	line := regexp.MustCompile(`(?m)^amtool alert add .*$`).FindString(read(t, root("docs", "monitoring.md")))
	if !strings.Contains(line, shown) {
		t.Fatalf("the page has %q", line)
	}
	line = tool(t, "amtool") + strings.TrimPrefix(strings.Replace(line, shown, "http://"+alertmanager(t, in.URL), 1), "amtool")
	run(t, "sh", "-c", line)
	eventually(t, 30*time.Second, func() string {
		if _, told := in.has("/page", "TdscalerTrial", "firing"); !told {
			return "nobody is told of it"
		}
		return ""
	})
}

// typesAreRight compares what Prometheus was told of each metric with the page, and lets
// promtool look at what is served.
func (l *living) typesAreRight(t *testing.T, s *server) {
	t.Helper()
	known := catalogue(t)
	var told map[string][]struct{ Type, Help string }
	s.get(t, "/api/v1/metadata", &told)
	seen := 0
	for name, about := range told {
		if !strings.HasPrefix(name, "tdscaler_") {
			continue
		}
		seen++
		if about[0].Type == "counter" { // OpenMetrics speaks of the family
			name = strings.TrimSuffix(name, "_total") + "_total"
		}
		if m, ok := known[name]; !ok || m.kind != about[0].Type || about[0].Help == "" {
			t.Errorf("%s is served as a %s, and docs/metrics.md has a %q", name, about[0].Type, m.kind)
		}
	}
	if seen < 70 {
		t.Errorf("only %d metrics were scraped", seen)
	}
	page, err := fetch("http://" + l.addr + "/metrics")
	must(t, err)
	check := exec.Command(tool(t, "promtool"), "check", "metrics")
	check.Stdin = strings.NewReader(page)
	check.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool check metrics: %v\n%s", err, out)
	}
}
