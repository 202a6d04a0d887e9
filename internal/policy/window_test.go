package policy

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func onClock(t *testing.T, zone, text string) time.Time {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	out, err := time.ParseInLocation("2006-01-02 15:04:05", text, loc)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func holds(w Window, now time.Time) bool {
	is, _ := w.At(now)
	return is
}

func TestAWindowHoldsFromItsStartUpToItsEnd(t *testing.T) {
	w := Window{From: "0 8 * * mon-fri", For: 12 * time.Hour, Zone: "Europe/Berlin", Machines: 4}
	for text, want := range map[string]bool{
		"2026-11-23 07:59:59": false, // a Monday
		"2026-11-23 08:00:00": true,
		"2026-11-23 19:59:59": true,
		"2026-11-23 20:00:00": false,
		"2026-11-22 12:00:00": false,
	} {
		if got := holds(w, onClock(t, "Europe/Berlin", text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
	is, end := w.At(onClock(t, "Europe/Berlin", "2026-11-23 09:00:00"))
	if want := onClock(t, "Europe/Berlin", "2026-11-23 20:00:00"); !is || !end.Equal(want) {
		t.Errorf("ends at %s, not %s", end, want)
	}
}

func TestAWindowThatReachesBeyondItsNextStartNeverEnds(t *testing.T) {
	w := Window{From: "0 */6 * * *", For: 7 * time.Hour}
	now := onClock(t, "UTC", "2026-11-22 00:00:00")
	for i := range 48 * 60 {
		if !holds(w, now.Add(time.Duration(i)*time.Minute)) {
			t.Fatalf("it does not hold %d minutes later", i)
		}
	}
}

func TestAWindowMayBeginTwiceBeforeItEnds(t *testing.T) {
	w := Window{From: "0 8,10 * * *", Until: "0 20 * * *"}
	for hour, want := range map[int]bool{7: false, 8: true, 9: true, 11: true, 19: true, 20: false} {
		if got := holds(w, time.Date(2026, 11, 22, hour, 0, 0, 0, time.UTC)); got != want {
			t.Errorf("%d:00: %v", hour, got)
		}
	}
}

// The clocks of Berlin are set forward from 2:00 to 3:00 on 2026-03-29, and back from
// 3:00 to 2:00 on 2026-10-25.
func TestAWindowInASpringAndAnAutumnNight(t *testing.T) {
	berlin := Zone("Europe/Berlin")
	spring, autumn := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC), time.Date(2026, 10, 25, 1, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		w          Window
		begin, end time.Time
	}{
		"a start that the clock skips": {Window{From: "30 2 * * *", Until: "0 6 * * *", Zone: berlin}, spring, spring.Add(3 * time.Hour)},
		"an end that the clock skips":  {Window{From: "0 0 * * *", Until: "30 2 * * *", Zone: berlin}, spring.Add(-2 * time.Hour), spring},
		"as long as time passes":       {Window{From: "0 20 * * *", For: 12 * time.Hour, Zone: berlin}, spring.Add(-6 * time.Hour), spring.Add(6 * time.Hour)},
		"a short night":                {Window{From: "0 20 * * *", Until: "0 8 * * *", Zone: berlin}, spring.Add(-6 * time.Hour), spring.Add(5 * time.Hour)},
		"a long night":                 {Window{From: "0 20 * * *", Until: "0 8 * * *", Zone: berlin}, autumn.Add(-7 * time.Hour), autumn.Add(6 * time.Hour)},
		"a start that comes twice":     {Window{From: "30 2 * * *", Until: "0 6 * * *", Zone: berlin}, autumn.Add(-30 * time.Minute), autumn.Add(4 * time.Hour)},
		"an end that comes twice":      {Window{From: "0 1 * * *", Until: "30 2 * * *", Zone: berlin}, autumn.Add(-2 * time.Hour), autumn.Add(-30 * time.Minute)},
		"within the hour that comes twice": {
			Window{From: "10 2 * * *", Until: "20 2 * * *", Zone: berlin}, autumn.Add(-50 * time.Minute), autumn.Add(-40 * time.Minute),
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i := -20 * 60; i < 20*60; i++ {
				now := c.begin.Add(time.Duration(i) * time.Minute)
				if now.Before(c.begin.Add(-3*time.Hour)) || now.After(c.end.Add(3*time.Hour)) {
					continue
				}
				if got, want := holds(c.w, now), !now.Before(c.begin) && now.Before(c.end); got != want {
					t.Fatalf("at %s: %v", now.In(berlin.Location()), got)
				}
			}
		})
	}
}

// A window that ends when another begins, by whatever clock, leaves no instant between
// them, and none in which the clock of the zone has shown more than it should.
func TestWindowsThatMeetLeaveNoGap(t *testing.T) {
	zones := []Zone{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia"}
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		h1, h2 := rapid.IntRange(0, 23).Draw(t, "h1"), rapid.IntRange(0, 23).Draw(t, "h2")
		m := rapid.SampledFrom([]int{0, 15, 30}).Draw(t, "minute")
		a, b := fmt.Sprintf("%d %d * * *", m, h1), fmt.Sprintf("%d %d * * *", m, h2)
		one, two := Window{From: a, Until: b, Zone: zone}, Window{From: b, Until: a, Zone: zone}
		day := rapid.IntRange(0, 365).Draw(t, "day")
		start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, day)
		for i := range 26 * 4 {
			now := start.Add(time.Duration(i) * 15 * time.Minute)
			for _, near := range []time.Time{now.Add(-time.Nanosecond), now} {
				first, second := holds(one, near), holds(two, near)
				if !first && !second {
					t.Fatalf("neither %s nor %s holds at %s", &one, &two, near.In(zone.Location()))
				}
				if h1 != h2 && first && second {
					t.Fatalf("%s and %s both hold at %s", &one, &two, near.In(zone.Location()))
				}
			}
		}
	})
}

// What shows and shownBy say is what one finds by watching the clock.
func TestTheReadingsOfAClockAreFoundByWatchingIt(t *testing.T) {
	for _, zone := range []Zone{"Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns"} {
		loc := zone.Location()
		for _, from := range []time.Time{time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC), time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC), time.Date(2026, 4, 4, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 24, 12, 0, 0, 0, time.UTC), time.Date(2026, 10, 31, 20, 0, 0, 0, time.UTC)} {
			shown := wallOf(from.Add(-time.Minute), loc)
			if got := shownBy(from.Add(-time.Minute), loc); got.After(shown) {
				t.Fatalf("the watch begins in an hour that comes twice: %s", from.In(loc))
			}
			for i := range 36 * 60 {
				now := from.Add(time.Duration(i) * time.Minute)
				for wall := shown.Add(time.Minute); !wall.After(wallOf(now, loc)); wall = wall.Add(time.Minute) {
					if got := shows(wall, loc); !got.Equal(now) {
						t.Fatalf("%s shows %s at %s, not %s", zone, wall, now.In(loc), got.In(loc))
					}
					shown = wall
				}
				if got := shownBy(now, loc).Truncate(time.Minute); !got.Equal(shown) {
					t.Fatalf("%s has shown %s by %s, not %s", zone, shown, now.In(loc), got)
				}
			}
		}
	}
}

func TestTheEdgeIsTheNextChange(t *testing.T) {
	w := Window{From: "0 8 * * *", Until: "0 20 * * *", Zone: "Europe/Berlin"}
	for now, want := range map[string]string{
		"2026-11-22 07:00:00": "2026-11-22 08:00:00", "2026-11-22 08:00:00": "2026-11-22 20:00:00",
		"2026-11-22 20:00:00": "2026-11-23 08:00:00", "2026-11-22 19:59:59": "2026-11-22 20:00:00",
	} {
		if got := w.Edge(onClock(t, "Europe/Berlin", now)); !got.Equal(onClock(t, "Europe/Berlin", want)) {
			t.Errorf("after %s: %s", now, got)
		}
	}
}

func TestTheLastRunIsTheOneBeforeTheNext(t *testing.T) {
	lines := []string{"* * * * *", "0 8 * * mon-fri", "*/7 3,5 * * *", "0 0 29 2 *", "0 12 1 1 *", "30 23 31 12 *", "* 8 * 1 *"}
	rapid.Check(t, func(t *rapid.T) {
		line := rapid.SampledFrom(lines).Draw(t, "line")
		s, err := wallCron(line)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(rapid.Int64Range(0, int64(4*365*24*time.Hour)).Draw(t, "now")))
		run, ok := lastRun(s, now)
		if !ok || run.After(now) || !s.Next(run).After(now) || !s.Next(run.Add(-time.Second)).Equal(run) {
			t.Fatalf("%q before %s: %s, next %s", line, now, run, s.Next(run))
		}
	})
}
