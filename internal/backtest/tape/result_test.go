package tape

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

func TestWhatIsNotDeliveredCostsThePenalty(t *testing.T) {
	tape := Tape{Penalty: market.USD(6, 12)}
	r := tape.Result("x", Sum{Cost: 10 * market.Dollar, Delivered: 90 * time.Minute, Target: 2 * time.Hour})
	if r.J != market.Amount(13_060_000_000) || r.Availability != 0.75 || r.Delivered != 1.5 || r.Target != 2 {
		t.Errorf("%+v", r)
	}
	b, err := json.Marshal(r)
	if want := `{"name":"x","cost_usd":10,"delivered_gpu_hours":1.5,"target_gpu_hours":2,"availability":0.75,"interruptions":0,"starts":0,"j":13.06,` +
		`"j_star":null,"j_ratio":null,"j_nw":null,"j_nw_ratio":null,"overpay":0,"self_outbids":0,"requests":0}`; err != nil || string(b) != want {
		t.Errorf("got  %s, %v\nwant %s", b, err, want)
	}
	r.Against(market.Amount(6_530_000_000), 13_060_000_000)
	if r.JRatio.Or(0) != 2 || r.JNWRatio.Or(0) != 1 {
		t.Errorf("%+v", r)
	}
	if nothing := tape.Result("y", Sum{}); nothing.Availability != 1 || nothing.J != 0 {
		t.Errorf("nothing wanted: %+v", nothing)
	}
}
