package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// group is one entry of Prometheus's HTTP service discovery.
type group struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// discover serves the ready machines of the last whole look in the format of
// Prometheus's HTTP service discovery.
func (o Options) discover(w http.ResponseWriter, r *http.Request, q query) {
	machines, policies, ok := o.Machines()
	if !ok { // Prometheus keeps what it knows
		say(w, problem{Type: notYet, Status: http.StatusServiceUnavailable, Detail: "the machines have not been seen yet"})
		return
	}
	body, err := json.Marshal(groups(machines, policies, q.count("port"), q.globs("policy")))
	if err != nil {
		say(w, problemOf(fmt.Errorf("write the answer: %w", err)))
		return
	}
	send(w, r, "application/json", append(body, '\n'))
}

// matches says whether a visitor has what would be sent.
func matches(headers []string, tag string) bool {
	for _, h := range headers {
		for _, one := range strings.Split(h, ",") {
			if one = strings.TrimPrefix(strings.TrimSpace(one), "W/"); one == tag || one == "*" {
				return true
			}
		}
	}
	return false
}

// groups are the ready machines that the port leads to, one each, by name.
func groups(machines []plan.Machine, policies []policy.Policy, port int, wanted []string) []group {
	out := []group{}
	labels := map[string]map[string]string{}
	for i := range policies {
		labels[policies[i].Name] = policies[i].Labels
	}
	sorted := slices.Clone(machines)
	slices.SortFunc(sorted, func(a, b plan.Machine) int { return cmp.Compare(a.Name, b.Name) })
	for i := range sorted {
		m := &sorted[i]
		external := m.External(port)
		if !m.Ready() || m.Leaving != nil || m.Parked != nil || m.IP == "" || external == 0 || len(wanted) > 0 && !slices.Contains(wanted, m.Policy) {
			continue
		}
		out = append(out, group{[]string{net.JoinHostPort(m.IP, strconv.Itoa(external))}, labelsOf(m, labels[m.Policy])})
	}
	return out
}

func labelsOf(m *plan.Machine, own map[string]string) map[string]string {
	const meta = "__meta_tdscaler_"
	out := map[string]string{
		meta + "machine": m.Name, meta + "id": m.ID, meta + "policy": m.Policy, meta + "host": m.Host,
		meta + "gpu_model": string(m.Model), meta + "gpus": strconv.Itoa(m.Shape.GPUs), meta + "capacity": string(m.Capacity),
		meta + "country": m.Location.Country, meta + "region": m.Location.Region, meta + "city": m.Location.City,
		meta + "draining": strconv.FormatBool(m.Drain != nil),
	}
	for k, v := range own {
		out[meta+"label_"+k] = v
	}
	return out
}
