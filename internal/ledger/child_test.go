package ledger

import (
	"bufio"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/plan"
)

// childVar makes the test binary a process that writes to the ledger it names
// until it is killed, and prints the id of each intent that was acknowledged.
const childVar = "TDSCALER_LEDGER_CHILD"

// childMain is all that a test binary does that was started as another process.
func childMain() {
	for name, work := range map[string]func(path string) error{childVar: childWrites, migrateVar: childMigrates, limitVar: childIsLimited} {
		path := os.Getenv(name)
		if path == "" {
			continue
		}
		if err := work(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

func childWrites(path string) error {
	l, err := Open(Options{Path: path})
	if err != nil {
		return err
	}
	w := newWorld(30, 5, 2)
	for {
		cycle, err := l.NextCycle()
		if err != nil {
			return err
		}
		var id uint64
		err = l.Update(func(tx *Tx) error {
			id = tx.NextIntent()
			h := tx.History()
			h.Machines = append(h.Machines, plan.Machine{Name: tx.NewName("main", "pool").String(), DeployIntent: id})
			if len(h.Machines) > 40 {
				h.Machines = h.Machines[20:]
			}
			if id%2 == 0 {
				r := w.next()
				r.Cycle = cycle
				if err := tx.PutReport(r); err != nil {
					return err
				}
			}
			return tx.PutIntent(plan.Intent{ID: id, Cycle: cycle, State: plan.IntentOpen})
		})
		if err != nil {
			return err
		}
		if _, err := fmt.Println(id); err != nil {
			return err
		}
	}
}

// killAfter runs the child on a ledger and kills it some time after its first
// acknowledgement; it returns the last one.
func killAfter(t *testing.T, path string, d time.Duration) (last uint64) {
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childVar+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	sc := bufio.NewScanner(out)
	for first := true; sc.Scan(); first = false {
		if first {
			time.AfterFunc(d, func() { _ = cmd.Process.Kill() })
		}
		if n, err := fmt.Sscan(sc.Text(), &last); n != 1 {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("the child was to be killed: %v", cmd.ProcessState)
	}
	return last
}

func TestNothingAcknowledgedIsLostWhenTheProcessIsKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("kills twenty processes")
	}
	path := tempPath(t)
	rng := rand.New(rand.NewSource(time.Now().UnixNano()))
	acked := uint64(0)
	for round := range 20 {
		last := killAfter(t, path, time.Duration(rng.Intn(40_000))*time.Microsecond)
		if last <= acked {
			t.Fatalf("round %d: id %d after %d", round, last, acked)
		}
		acked = last
		l := mustOpen(t, Options{Path: path})
		for id := uint64(1); id <= acked; id++ {
			if _, err := l.Intent(id); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		h := must1(l.History())
		newest := h.Machines[0].DeployIntent
		for _, m := range h.Machines {
			newest = max(newest, m.DeployIntent)
		}
		if newest < acked {
			t.Fatalf("round %d: the machine of intent %d is lost", round, acked)
		}
		must(t, l.Verify())
		must(t, l.Close())
	}
	t.Logf("%d acknowledged", acked)
}

func TestAnotherProcessIsLockedOut(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	mustOpen(t, Options{Path: path})
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childVar+"="+path)
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	if want := ErrLocked.Error(); !containsLine(string(out), want) {
		t.Errorf("%s", out)
	}
}
