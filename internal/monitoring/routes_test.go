package monitoring

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

// raised is an alert as Alertmanager is told of it.
func raised(labels ...string) map[string]string {
	m := map[string]string{"job": "tdscaler"}
	for i := 0; i < len(labels); i += 2 {
		m[labels[i]] = labels[i+1]
	}
	return m
}

func TestWhatFollowsFromSomethingGraverIsNotTold(t *testing.T) {
	serversWanted(t)
	url := "http://" + alertmanager(t, newInbox(t).URL) + "/api/v2/alerts"
	cases := []struct {
		labels map[string]string
		told   bool
	}{
		{raised("alertname", "TdscalerDown", "severity", "page", "instance", "a"), true},
		{raised("alertname", "TdscalerNoCapacity", "severity", "page", "instance", "a", "policy", "train"), false},
		{raised("alertname", "TdscalerScanStale", "severity", "ticket", "instance", "a"), false},
		// No cycle silences all but what may be its reason.
		{raised("alertname", "TdscalerNoCycle", "severity", "page", "instance", "b"), true},
		{raised("alertname", "TdscalerTargetMissed", "severity", "ticket", "instance", "b", "policy", "train"), false},
		{raised("alertname", "TdscalerLedgerUnwritable", "severity", "page", "instance", "b"), true},
		// A page silences what is less of the same policy, and the same alert's ticket.
		{raised("alertname", "TdscalerNoCapacity", "severity", "page", "instance", "c", "policy", "train"), true},
		{raised("alertname", "TdscalerChurn", "severity", "ticket", "instance", "c", "policy", "train"), false},
		{raised("alertname", "TdscalerChurn", "severity", "ticket", "instance", "c", "policy", "other"), true},
		{raised("alertname", "TdscalerRunwayShort", "severity", "page", "instance", "c"), true},
		{raised("alertname", "TdscalerRunwayShort", "severity", "ticket", "instance", "c"), false},
		{raised("alertname", "TdscalerBudgetNearlySpent", "severity", "ticket", "instance", "c", "period", "day"), true},
		// Without credentials targets are missed, and another daemon's are its own affair.
		{raised("alertname", "TdscalerUnauthorized", "severity", "page", "instance", "d"), true},
		{raised("alertname", "TdscalerTargetMissed", "severity", "ticket", "instance", "d", "policy", "train"), false},
		{raised("alertname", "TdscalerBillMismatch", "severity", "ticket", "instance", "d"), true},
		{raised("alertname", "TdscalerTargetMissed", "severity", "ticket", "instance", "e", "policy", "train"), true},
	}
	var all []map[string]any
	for _, c := range cases {
		all = append(all, map[string]any{"labels": c.labels})
	}
	body, err := json.Marshal(all)
	must(t, err)
	res, err := http.Post(url, "application/json", bytes.NewReader(body))
	must(t, err)
	must(t, res.Body.Close())
	if res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	for _, c := range cases {
		eventually(t, 15*time.Second, func() string {
			if got := silenced(t, url, c.labels); got == c.told {
				return "wrongly told or not told: " + c.labels["alertname"] + " of " + c.labels["instance"] + " " + c.labels["policy"]
			}
			return ""
		})
	}
}

// silenced says whether Alertmanager keeps an alert to itself.
func silenced(t *testing.T, url string, labels map[string]string) bool {
	t.Helper()
	page, err := fetch(url)
	must(t, err)
	var found []struct {
		Labels map[string]string
		Status struct{ InhibitedBy []string }
	}
	must(t, json.Unmarshal([]byte(page), &found))
	for _, f := range found {
		same := len(f.Labels) == len(labels)
		for k, v := range labels {
			same = same && f.Labels[k] == v
		}
		if same {
			return len(f.Status.InhibitedBy) > 0
		}
	}
	t.Fatalf("%v is not there", labels)
	return false
}
