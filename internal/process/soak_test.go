package process

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sample is what the daemon looked like after so many cycles.
type sample struct {
	cycles                    int
	resident, ledger          float64 // MiB
	goroutines, files, writes float64
}

// soakFile is a market life with something to do: the target moves, answers get
// lost, and the ledger may have four MiB.
const soakFile = `
version: 1
daemon: {schedule: "@every 1s", mode: live, listen: "127.0.0.1:0", log_level: warn}
tensordock: {marketplace_url: %q, instances_url: %[1]q, marketplace_rps: 1000}
budget: {max_hourly: 30.00}
ledger: {max_size: 4MiB, retention: 1h}
safety: {unknown_looks: 2, unknown_age: 3s, absent_looks: 2, absent_age: 500ms, backoff_min: 1s, backoff_max: 10s, breaker_cooldown: 1s}
policies:
  - {name: train, target: {gpus: %d}, shape: {gpus: 1}, max_gpu_hour: 1.00}
`

// TestTheRealProgramStaysFlat runs the built daemon against the built simulator for
// TDSCALER_SOAK_CYCLES cycles of a second and compares the second half with the
// first.
func TestTheRealProgramStaysFlat(t *testing.T) {
	cycles, err := strconv.Atoi(os.Getenv("TDSCALER_SOAK_CYCLES"))
	if err != nil {
		t.Skip("run by make soak-real")
	}
	p := newProgram(t)
	market := startSimulator(t, p)
	p.write("p.yaml", fmt.Sprintf(soakFile, market, 4))
	p.begin()
	t.Cleanup(func() {
		if p.cmd != nil {
			p.end(syscall.SIGKILL)
		}
	})
	port := p.loggedAddress()
	const step = 10 // cycles between two targets
	every := max(1, cycles/25/step) * step
	var all []sample
	fmt.Printf("%8s %12s %11s %6s %11s %8s\n", "cycles", "memory MiB", "goroutines", "files", "ledger MiB", "writes")
	for next, target := step, 4; next <= cycles; next += step {
		target = 10 - target // six, four, six ...
		p.write("p.yaml", fmt.Sprintf(soakFile, market, target))
		if !eventually(step*10*time.Second, func() bool {
			time.Sleep(500 * time.Millisecond)
			return count(scrape(t, port), "tdscaler_cycles_total") >= float64(next)
		}) {
			t.Fatalf("cycle %d never came\n%s", next, p.log.String())
		}
		if next%every != 0 {
			continue
		}
		s := p.sample(port)
		all = append(all, s)
		fmt.Printf("%8d %12.1f %11.0f %6.0f %11.2f %8.0f\n", s.cycles, s.resident, s.goroutines, s.files, s.ledger, s.writes)
	}
	p.end(syscall.SIGTERM)
	flat(t, all)
	if n := p.log.Len(); n > 4<<20 {
		t.Errorf("%d bytes were logged at level warn", n)
	}
}

// flat holds the second half against the first, whose start is warming up.
func flat(t *testing.T, all []sample) {
	t.Helper()
	half := len(all) / 2
	first, second := all[min(2, half-1):half], all[half:]
	for _, c := range []struct {
		what          string
		of            func(sample) float64
		factor, slack float64
	}{
		{"memory MiB", func(s sample) float64 { return s.resident }, 1.15, 8},
		{"goroutines", func(s sample) float64 { return s.goroutines }, 1, 6},
		{"open files", func(s sample) float64 { return s.files }, 1, 6},
		{"ledger MiB", func(s sample) float64 { return min(s.ledger, 8) }, 1.5, 4},
	} {
		a, b := median(first, c.of), median(second, c.of)
		if b > a*c.factor+c.slack {
			t.Errorf("%s grew from %.1f to %.1f (medians of the halves)", c.what, a, b)
		}
	}
	if last := all[len(all)-1]; last.ledger > 8 {
		t.Errorf("the ledger has %.1f MiB, ledger.max_size is 4 MiB", last.ledger)
	}
	if last := all[len(all)-1]; last.writes < float64(last.cycles)/50 {
		t.Errorf("only %.0f writes were made: nothing was soaked", last.writes)
	}
}

func median(all []sample, of func(sample) float64) float64 {
	var v []float64
	for _, s := range all {
		v = append(v, of(s))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// startSimulator starts the built simulator and returns its address.
func startSimulator(t *testing.T, p *program) string {
	t.Helper()
	c := exec.Command(binary(t), "simulator", "--listen", "127.0.0.1:0", "--seed", "11", "--faults", "lost:deploy:0.05,lost:delete:0.05,html500:*:0.01,empty:list:0.01")
	c.Dir = p.dir
	out, err := c.StdoutPipe()
	must(t, err)
	must(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	return regexp.MustCompile(`http://[0-9.:]+`).FindString(line)
}

// loggedAddress asks the kernel on which port the process listens: at level warn it
// does not say.
func (p *program) loggedAddress() string {
	p.Helper()
	var found string
	if !eventually(20*time.Second, func() bool { found = listening(p.cmd.Process.Pid); return found != "" }) {
		p.Fatalf("it never listened\n%s", p.log.String())
	}
	return found
}

// listening finds the loopback TCP port on which a process listens.
func listening(pid int) string {
	inodes := map[string]bool{}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		return ""
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, fd.Name())); err == nil && strings.HasPrefix(to, "socket:[") {
			inodes[strings.Trim(to, "socket:[]")] = true
		}
	}
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(table), "\n") {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] != "0A" || !inodes[f[9]] {
			continue
		}
		_, hex, _ := strings.Cut(f[1], ":")
		if n, err := strconv.ParseUint(hex, 16, 16); err == nil {
			return fmt.Sprintf("127.0.0.1:%d", n)
		}
	}
	return ""
}

func scrape(t testing.TB, addr string) string {
	t.Helper()
	c := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := c.Get("http://" + addr + "/metrics")
	must(t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	must(t, err)
	return string(b)
}

// count sums a metric over its labels.
func count(metrics, name string) (sum float64) {
	for _, m := range regexp.MustCompile(`(?m)^`+name+`(?:\{.*\})? (\S+)$`).FindAllStringSubmatch(metrics, -1) {
		if v, err := strconv.ParseFloat(m[1], 64); err == nil {
			sum += v
		}
	}
	return sum
}

func (p *program) sample(addr string) sample {
	p.Helper()
	m := scrape(p, addr)
	info, err := os.Stat(p.path("tdscaler.db"))
	must(p, err)
	return sample{
		cycles: int(count(m, "tdscaler_cycles_total")), resident: count(m, "process_resident_memory_bytes") / (1 << 20), ledger: float64(info.Size()) / (1 << 20),
		goroutines: count(m, "go_goroutines"), files: count(m, "process_open_fds"), writes: count(m, "tdscaler_actions_total"),
	}
}
