package web

import (
	"fmt"
	"html"
	"strings"

	"github.com/tdscaler/tdscaler/internal/plan"
)

// fleetBar shows a policy's GPUs against its target: ready ones, those on their way, dead
// ones, and what is missing up to the mark.
func fleetBar(s *plan.Standing) picture {
	total := max(s.Target, s.Ready+s.Booting+s.Dead+s.Leaving+s.Parked, 1)
	const width, height = 200, 14
	unit := float64(width) / float64(total)
	var b strings.Builder
	x := 0.0
	for _, part := range []struct {
		n     int
		class string
	}{{s.Ready, "ready"}, {s.Booting, "booting"}, {s.Dead, "dead"}, {s.Leaving + s.Parked, "leaving"}} {
		if part.n > 0 {
			fmt.Fprintf(&b, `<rect class="%s" x="%s" y="2" width="%s" height="%d"/>`, part.class, num(x), num(unit*float64(part.n)), height-4)
			x += unit * float64(part.n)
		}
	}
	if total <= 40 {
		for i := 1; i < total; i++ {
			fmt.Fprintf(&b, `<line class="cut" x1="%s" y1="2" x2="%s" y2="%d"/>`, num(unit*float64(i)), num(unit*float64(i)), height-2)
		}
	}
	at := unit * float64(s.Target)
	fmt.Fprintf(&b, `<line class="target" x1="%s" y1="0" x2="%s" y2="%d"/>`, num(min(max(at, 1), width-1)), num(min(max(at, 1), width-1)), height)
	words := fmt.Sprintf("%d of %d GPUs ready, %d on their way, %d outbid or stopped, %d leaving or parked", s.Ready, s.Target, s.Booting, s.Dead, s.Leaving+s.Parked)
	return picture(fmt.Sprintf(`<svg class="fleetbar" viewBox="0 0 %d %d" preserveAspectRatio="none" role="img" aria-label="%s"><title>%s</title><rect class="none" x="0" y="2" width="%d" height="%d"/>%s</svg>`,
		width, height, html.EscapeString(words), html.EscapeString(words), width, height-4, b.String()))
}

// meter shows how much of a cap is used.
func meter(part, whole float64, words string) picture {
	if whole <= 0 {
		return ""
	}
	class := "ready"
	if part > whole*0.9 {
		class = "dead"
	} else if part > whole*0.75 {
		class = "booting"
	}
	return picture(fmt.Sprintf(`<svg class="meter" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="%s"><rect class="none" width="100" height="6"/><rect class="%s" width="%s" height="6"/></svg>`,
		html.EscapeString(words), class, num(min(max(100*part/whole, 0), 100))))
}

// sieve is one step of the funnel of offers.
type sieve struct {
	Label string // of what is left
	Left  int
	Lost  int
	Why   string // what was wrong with those
	Bar   picture
}

// sieveBar shows what is left of all, and what the last step took.
func sieveBar(left, lost, all int) picture {
	w := func(n int) string { return num(100 * float64(n) / float64(max(all, 1))) }
	return picture(fmt.Sprintf(`<svg class="sieve" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><rect class="lost" width="%s" height="10"/><rect class="left" width="%s" height="10"/></svg>`,
		w(left+lost), w(left)))
}
