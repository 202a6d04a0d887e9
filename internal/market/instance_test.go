package market

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

func TestStatusesAreReadInAnySpelling(t *testing.T) {
	for raw, want := range map[string]Status{
		"Running": StatusRunning, "RUNNING": StatusRunning, "stoppeddisassociated": StatusReleased, "StoppedDisassociated": StatusReleased,
		"stopped_disassociated": StatusReleased, "Stopped Disassociated": StatusReleased, "Stopped": StatusStopped, "Outbid": StatusOutbid,
		"out-bid": StatusOutbid, "queued": StatusStarting, "creating": StatusStarting, "pending": StatusStarting, "provisioning": StatusStarting,
		"Starting": StatusStarting, "stopping": StatusStopping, "Terminated": StatusTerminated, "deleted": StatusTerminated, "error": StatusError,
		"relocating": StatusRelocating, "": StatusUnknown, "hibernating": StatusUnknown, "null": StatusUnknown,
	} {
		if got := ParseStatus(raw); got != want {
			t.Errorf("%q is %s, want %s", raw, got, want)
		}
	}
}

func TestWhatCannotBeReadIsNeverGoneAndChargedInFull(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := ParseStatus(rapid.String().Draw(t, "status"))
		if s == StatusUnknown && !s.BillsCompute() {
			t.Fatal("an unknown status was taken for one that costs nothing")
		}
	})
	for s, full := range map[Status]bool{
		StatusUnknown: true, StatusStarting: true, StatusRunning: true, StatusStopping: true, StatusStopped: true,
		StatusReleased: false, StatusOutbid: false, StatusRelocating: true, StatusError: true, StatusTerminated: false,
	} {
		if s.BillsCompute() != full {
			t.Errorf("%s bills compute: %v", s, s.BillsCompute())
		}
	}
}

func TestUnknownIsNeverZero(t *testing.T) {
	type host struct {
		Free  Maybe[int]     `json:"free,omitzero"`
		Ports Maybe[[]int]   `json:"ports,omitzero"`
		Up    Maybe[float64] `json:"up,omitzero"`
	}
	for text, in := range map[string]host{
		`{}`:                           {},
		`{"free":0,"ports":[],"up":0}`: {Some(0), Some([]int(nil)), Some(0.0)},
		`{"free":3,"ports":[1,2]}`:     {Free: Some(3), Ports: Some([]int{1, 2})},
	} {
		b, err := json.Marshal(in)
		if err != nil || string(b) != text {
			t.Errorf("got %s (%v), want %s", b, err, text)
		}
		var out host
		if err := json.Unmarshal(b, &out); err != nil {
			t.Error(err)
		}
		if out.Free != in.Free || out.Ports.Known() != in.Ports.Known() || len(out.Ports.Or(nil)) != len(in.Ports.Or(nil)) || out.Up != in.Up {
			t.Errorf("%+v came back as %+v", in, out)
		}
	}
	var m Maybe[int]
	if err := json.Unmarshal([]byte(`null`), &m); err != nil || m.Known() {
		t.Errorf("null: %v, %v", m, err)
	}
	if err := json.Unmarshal([]byte(`"x"`), &m); err == nil || m.Known() {
		t.Errorf("what cannot be read is known: %v, %v", m, err)
	}
	if b, _ := json.Marshal(Maybe[Rate]{}); string(b) != "null" {
		t.Errorf("unknown is written as %s", b)
	}
	if (Maybe[int]{}).Or(7) != 7 || Some(0).Or(7) != 0 {
		t.Error("Or mixes up unknown and zero")
	}
}

func TestMemoryIsReadFromTheModelsName(t *testing.T) {
	for m, want := range map[GPUModel]Maybe[int]{
		"geforcertx4090-pcie-24gb": Some(24), "h100-sxm5-80gb": Some(80), "l4": {}, "x-gb": {}, "x-0gb": {}, "x--4gb": Some(4), "24gb": {}, "": {},
	} {
		if got := m.VRAM(); got != want {
			t.Errorf("%s has %v, want %v", m, got, want)
		}
	}
}

func TestAHostsPricesAddUpOrAreUnknown(t *testing.T) {
	h := Host{
		CPU: Component{Price: Some(Rate(3_000_000))}, RAM: Component{Price: Some(Rate(2_000_000))}, Storage: Component{Price: Some(Rate(50_000))},
	}
	s := Shape{GPUs: 2, VCPUs: 4, RAM: 16, Storage: 100}
	g := HostGPU{Model: "m", Price: Some(USD(0, 8))}
	if got := h.OnDemandCompute(g, s); got != Some(Rate(160_000_000+12_000_000+32_000_000)) {
		t.Errorf("compute %v", got)
	}
	if got := h.StorageRate(s); got != Some(Rate(5_000_000)) {
		t.Errorf("storage %v", got)
	}
	h.RAM.Price, h.Storage.Price = Maybe[Rate]{}, Maybe[Rate]{}
	if h.OnDemandCompute(g, s).Known() || h.StorageRate(s).Known() {
		t.Error("a missing price was taken for zero")
	}
}

func TestAKnownEmptyListStaysKnown(t *testing.T) {
	b, err := json.Marshal(Some([]int(nil)))
	if err != nil {
		t.Fatal(err)
	}
	var back Maybe[[]int]
	if err := json.Unmarshal(b, &back); err != nil || !back.Known() {
		t.Fatalf("a known empty list came back from %s as %v, %v", b, back, err)
	}
}
