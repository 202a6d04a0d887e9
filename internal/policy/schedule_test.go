package policy

import (
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestSchedulesThatCronWouldTakeAmissAreRefused(t *testing.T) {
	for _, spec := range []string{
		"", " ", "TZ=0", "CRON_TZ=UTC", "TZ=", "TZ= * * * * *", "TZ=TZ=TZ=", "TZ=Nowhere/City * * * * *", "TZ=Local * * * * *", "CRON_TZ=UTC CRON_TZ=UTC * * * * *",
		"@every", "@every 0s", "@every -5m", "@every 100ms", "@every 1500ms", "@every 5", "@every five minutes", "@reboot", "@sometimes",
		"0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "60 * * * *", "* * * *", "* * * * * *", "0 0 * * 7", "*/0 * * * *", "5-1 * * * *",
	} {
		if s, err := ParseSchedule(spec); err == nil {
			t.Errorf("%q is taken as %v", spec, s)
		}
	}
}

func TestScheduleNextAndLongestInterval(t *testing.T) {
	day := 24 * time.Hour
	for _, c := range []struct {
		spec string
		next string
		gap  time.Duration
	}{
		{"@every 1s", "2026-03-01T12:00:01Z", time.Second},
		{"@every 1m", "2026-03-01T12:01:00Z", time.Minute},
		{"TZ=UTC @every 90s", "2026-03-01T12:01:30Z", 90 * time.Second},
		{"@hourly", "2026-03-01T13:00:00Z", time.Hour},
		{"*/5 * * * *", "2026-03-01T12:05:00Z", 5 * time.Minute},
		{"*/7 * * * *", "2026-03-01T12:07:00Z", 7 * time.Minute},
		{"0 7 * * 1-5", "2026-03-02T07:00:00Z", 3 * day},
		{"*/10 9-17 * * 1-5", "2026-03-02T09:00:00Z", 2*day + 15*time.Hour + 10*time.Minute},
		{"CRON_TZ=America/New_York 0 7 * * *", "2026-03-02T07:00:00-05:00", 25 * time.Hour}, // the night the clock goes back
		{"0 0 1 1 *", "2027-01-01T00:00:00Z", 366 * day},
		{"0 0 29 2 *", "2028-02-29T00:00:00Z", 1461 * day},
	} {
		s, err := ParseSchedule(c.spec)
		if err != nil {
			t.Errorf("%s: %v", c.spec, err)
			continue
		}
		want, err := time.Parse(time.RFC3339, c.next)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Next(noon); !got.Equal(want) {
			t.Errorf("%s: next %v, want %v", c.spec, got, want)
		}
		if got := s.Interval(noon); got != c.gap {
			t.Errorf("%s: longest interval %v, want %v", c.spec, got, c.gap)
		}
	}
}

func TestACronLineWithoutAZoneIsUTCWhereverTheMachineStands(t *testing.T) {
	s, err := ParseSchedule("0 7 * * *")
	if err != nil {
		t.Fatal(err)
	}
	there := time.FixedZone("there", 9*3600)
	if got := s.Next(noon.In(there)); got.UTC().Hour() != 7 {
		t.Errorf("next %v", got.UTC())
	}
}

func FuzzParseSchedule(f *testing.F) {
	for _, s := range []string{"@every 1m", "*/5 * * * *", "TZ=0", "CRON_TZ=UTC", "0 0 31 2 *", "CRON_TZ=Europe/Berlin 0 7 * * 1-5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := ParseSchedule(spec)
		if err != nil {
			return
		}
		next := s.Next(noon)
		if gap := s.Interval(noon); !next.After(noon) || gap < time.Second {
			t.Errorf("%q: next %v, interval %v", spec, next, gap)
		}
		// The interval is the longest wait, whenever one begins; and whoever wakes a
		// little late is not told an earlier run.
		for range 20 {
			after := s.Next(next)
			if !after.After(next) || s.Next(next.Add(time.Millisecond)).Before(after) || after.Sub(next) > s.Interval(noon) {
				t.Fatalf("%q: %v after %v, interval %v", spec, after, next, s.Interval(noon))
			}
			next = after
		}
	})
}
