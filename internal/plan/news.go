package plan

import "github.com/tdscaler/tdscaler/internal/market"

// News are what a list of machines that was made between two cycles shows and the books
// do not know, where a cycle should not wait for its time because of it. Nothing is booked and no absence is counted: the cycle looks for itself. What
// it has seen and does not believe is no news any more.
//
//	in the books       | the list                           | news
//	-------------------+------------------------------------+-----
//	runs, or on its    | outbid, stopped, released, error   | yes
//	  way              | ended; without it, if a list has   | yes, if no cycle
//	                   |   shown it before                  |   has missed it
//	on its way, or not | running                            | yes
//	  running          |                                    |
//	leaving            | without it, but not empty          | yes, if no cycle
//	                   |                                    |   has missed it
//	anything           | starting, unknown, relocating      | no
//
// What only v2 shows is left to the cycles.
func News(h *History, list []market.Instance) (news []string) {
	byID, byName := map[string]*market.Instance{}, map[string]*market.Instance{}
	for i := range list {
		byID[list[i].ID], byName[list[i].Name] = &list[i], &list[i]
	}
	for i := range h.Machines {
		m := &h.Machines[i]
		is := byID[m.ID]
		if m.ID == "" {
			is = byName[m.Name]
		}
		if what := m.news(is, len(list) == 0); what != "" && m.API != market.V2 {
			news = append(news, m.Name+" "+what)
		}
	}
	return news
}

// news is what a list says of the machine; is is nil where it leaves it out.
func (m *Machine) news(is *market.Instance, empty bool) string {
	gone := is == nil || is.Status == market.StatusTerminated
	leaving := m.Leaving != nil || m.Phase == PhaseDeleting
	switch {
	case gone && (m.Missed+m.MissedAlone > 0 || is == nil && m.Phase != PhaseLive && !leaving || leaving && empty):
		return ""
	case gone && leaving:
		return "is gone"
	case gone:
		return "is not listed any more"
	case leaving || m.Phase == PhaseLive && m.Status == is.Status:
		return ""
	case is.Status == market.StatusRunning:
		return "runs"
	case is.Status == market.StatusOutbid, down(is.Status):
		return "is " + string(is.Status)
	}
	return ""
}
