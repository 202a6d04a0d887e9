package clock

import (
	"os"
	"strings"
	"time"
)

// Uptime is a reading of a clock that nobody can set. The difference of two readings
// of the same Boot is the time that truly passed between them, whatever the time
// of day did meanwhile; readings of two boots cannot be compared.
type Uptime struct {
	Boot string        `json:"boot"` // names the counting; "" where there is none
	At   time.Duration `json:"at"`   // since the boot, time asleep included
}

// Since is the time that passed from an earlier reading to this one; false where
// the two do not compare.
func (u Uptime) Since(earlier Uptime) (time.Duration, bool) {
	if u.Boot == "" || u.Boot != earlier.Boot || u.At < earlier.At {
		return 0, false
	}
	return u.At - earlier.At, true
}

// Steady is a clock that goes on from one moment as time does, whoever sets the other
// meanwhile. Where the uptime is not known it is the other's time of day.
type Steady struct {
	Clock
	At time.Time // the moment
	Up Uptime    // read at that moment
}

// SteadyFrom goes on from now.
func SteadyFrom(c Clock) Steady { return Steady{Clock: c, At: c.Now(), Up: c.Uptime()} }

// Now implements Clock.
func (s Steady) Now() time.Time {
	if d, ok := s.Uptime().Since(s.Up); ok {
		return s.At.Add(d)
	}
	return s.Clock.Now()
}

// Where Linux names its present boot, with a new name for every one, and tells the
// seconds since, in hundredths.
const (
	bootID     = "/proc/sys/kernel/random/boot_id"
	uptimeFile = "/proc/uptime"
)

// Uptime implements Clock: the system's time since its boot, which goes on while
// the machine sleeps, as the market's bill does. It survives a restart of the
// process. Where the system does not tell, there is none.
func (System) Uptime() Uptime {
	id, err := os.ReadFile(bootID)
	if err != nil {
		return Uptime{}
	}
	text, err := os.ReadFile(uptimeFile)
	if err != nil {
		return Uptime{}
	}
	seconds, _, _ := strings.Cut(string(text), " ")
	at, err := time.ParseDuration(seconds + "s")
	if err != nil {
		return Uptime{}
	}
	return Uptime{Boot: strings.TrimSpace(string(id)), At: at}
}

// Uptime implements Clock: what was slept and set since the start.
func (v *Virtual) Uptime() Uptime {
	v.mu.Lock()
	defer v.mu.Unlock()
	return Uptime{Boot: "virtual", At: v.now.Sub(v.start)}
}
