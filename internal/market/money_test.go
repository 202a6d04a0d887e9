package market

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// nanoOracle reads a decimal exactly with math/big and rounds it.
func nanoOracle(t *rapid.T, text string, r Rounding) *big.Int {
	x, ok := new(big.Rat).SetString(text)
	if !ok {
		t.Fatalf("the oracle cannot read %q", text)
	}
	x.Mul(x, new(big.Rat).SetInt64(Dollar))
	q, rem := new(big.Int).DivMod(x.Num(), x.Denom(), new(big.Int)) // floor: rem is never negative
	if r == RoundUp && rem.Sign() != 0 {
		q.Add(q, big.NewInt(1))
	}
	return q
}

func decimals() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		s := rapid.SampledFrom([]string{"", "-", "+"}).Draw(t, "sign")
		s += rapid.StringMatching(`[0-9]{1,12}`).Draw(t, "whole")
		if rapid.Bool().Draw(t, "fractional") {
			s += "." + rapid.StringMatching(`[0-9]{0,25}`).Draw(t, "fraction")
		}
		if rapid.Bool().Draw(t, "scientific") {
			s += fmt.Sprintf("e%d", rapid.IntRange(-30, 20).Draw(t, "exponent"))
		}
		return s
	})
}

func TestParseNanoAgreesWithExactArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := decimals().Draw(t, "text")
		r := rapid.SampledFrom([]Rounding{RoundUp, RoundDown}).Draw(t, "rounding")
		want := nanoOracle(t, text, r)
		got, err := ParseNano(text, r)
		fits := new(big.Int).Abs(want).Cmp(big.NewInt(math.MaxInt64)) <= 0
		switch {
		case !fits && err == nil:
			t.Fatalf("%q does not fit, got %d", text, got)
		case !fits && !errors.Is(err, ErrMoney):
			t.Fatalf("%q: %v does not wrap ErrMoney", text, err)
		case fits && err != nil:
			t.Fatalf("%q: %v, want %s", text, err, want)
		case fits && want.Cmp(big.NewInt(got)) != 0:
			t.Fatalf("%q: got %d, want %s", text, got, want)
		}
	})
}

func TestParseNanoRoundsAgainstUsAndRefusesWhatIsNoMoney(t *testing.T) {
	for text, want := range map[string][2]int64{
		"0.305": {305_000_000, 305_000_000}, "5e-05": {50_000, 50_000}, "-1.2": {-1_200_000_000, -1_200_000_000},
		"0.0000000001": {1, 0}, "-0.0000000001": {0, -1}, "1e-400": {1, 0}, " 2 ": {2 * Dollar, 2 * Dollar},
		".5": {500_000_000, 500_000_000}, "7.": {7 * Dollar, 7 * Dollar}, "0e40": {0, 0},
		"9223372036.854775807": {math.MaxInt64, math.MaxInt64},
	} {
		up, err1 := ParseNano(text, RoundUp)
		down, err2 := ParseNano(text, RoundDown)
		if err1 != nil || err2 != nil || up != want[0] || down != want[1] {
			t.Errorf("%q: up %d (%v), down %d (%v), want %v", text, up, err1, down, err2, want)
		}
	}
	for _, text := range []string{
		"", ".", "-", "NaN", "Inf", "-inf", "0x10", "1_000", "1,5", "1.2.3", "1e", "1e99", "e5", "--1",
		"9223372036.854775808", "9223372036.8547758071", "1e30", "true", "$5", "١",
	} {
		if n, err := ParseNano(text, RoundUp); !errors.Is(err, ErrMoney) || n != 0 {
			t.Errorf("%q: got %d, %v", text, n, err)
		}
	}
}

func anyInt64() *rapid.Generator[int64] {
	return rapid.OneOf(rapid.Int64(), rapid.Int64Range(-100*Dollar, 100*Dollar),
		rapid.SampledFrom([]int64{0, 1, -1, Cent, -Cent, math.MaxInt64, math.MaxInt64 - 1, -math.MaxInt64, math.MinInt64}))
}

// clamp is what saturating arithmetic makes of an exact result.
func clamp(x *big.Int) int64 {
	limit := big.NewInt(math.MaxInt64)
	if x.Cmp(limit) > 0 {
		return math.MaxInt64
	}
	if x.Cmp(new(big.Int).Neg(limit)) < 0 {
		return -math.MaxInt64
	}
	return x.Int64()
}

// ceilDiv is a x b / c, rounded up.
func ceilDiv(a, b, c int64) *big.Int {
	n := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
	q, r := new(big.Int).DivMod(n, big.NewInt(c), new(big.Int))
	if r.Sign() != 0 {
		q.Add(q, big.NewInt(1))
	}
	return q
}

func TestArithmeticSaturatesAndNeverWraps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyInt64().Draw(t, "a"), anyInt64().Draw(t, "b")
		check := func(what string, got int64, want *big.Int) {
			if got != clamp(want) {
				t.Fatalf("%s of %d and %d: got %d, want %d", what, a, b, got, clamp(want))
			}
		}
		x, y := big.NewInt(a), big.NewInt(b)
		check("sum", int64(Rate(a).Add(Rate(b))), new(big.Int).Add(x, y))
		check("amount's sum", int64(Amount(a).Add(Amount(b))), new(big.Int).Add(x, y))
		if b != math.MinInt64 {
			check("difference", int64(Rate(a).Sub(Rate(b))), new(big.Int).Sub(x, y))
			check("amount's difference", int64(Amount(a).Sub(Amount(b))), new(big.Int).Sub(x, y))
		}
		check("product", int64(Rate(a).Mul(int(b))), new(big.Int).Mul(x, y))
		if b > 0 {
			num := anyInt64().Draw(t, "num")
			check("scale", int64(Rate(a).Scale(num, b)), ceilDiv(a, num, b))
			check("cost", int64(Rate(a).For(time.Duration(b))), ceilDiv(a, b, int64(time.Hour)))
			check("share", int64(max(Rate(a), -MaxRate).PerGPU(int(b))), ceilDiv(max(a, -math.MaxInt64), 1, b))
		} else if got := Rate(a).For(time.Duration(b)); got != 0 {
			t.Fatalf("%d over %d earns %d", a, b, got)
		}
	})
}

func TestCentsRoundUpAndDownToWholeCents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := Rate(rapid.Int64Range(-1e15, 1e15).Draw(t, "rate"))
		up, down := r.CeilCent(), r.FloorCent()
		if up%Cent != 0 || down%Cent != 0 || up < r || down > r || up-r >= Cent || r-down >= Cent {
			t.Fatalf("%d: up %d, down %d", r, up, down)
		}
	})
	if got := MaxRate.CeilCent(); got != MaxRate {
		t.Errorf("the ceiling of everything is %d", got)
	}
}

func TestMoneyGoesThroughJSONExactly(t *testing.T) {
	type money struct {
		R Rate
		A Amount
		M Maybe[Rate] `json:",omitzero"`
	}
	rapid.Check(t, func(t *rapid.T) {
		n := max(anyInt64().Draw(t, "nano"), -math.MaxInt64)
		in := money{Rate(n), Amount(n), Maybe[Rate]{}}
		if rapid.Bool().Draw(t, "known") {
			in.M = Some(Rate(n))
		}
		b, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		var out money
		if err := json.Unmarshal(b, &out); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if out != in {
			t.Fatalf("%+v came back as %+v through %s", in, out, b)
		}
	})
	var r Rate
	if err := json.Unmarshal([]byte(`"0.0000000001"`), &r); err != nil || r != 1 {
		t.Errorf("a quoted price: %d, %v", r, err)
	}
}

func TestMoneyPrintsForPeople(t *testing.T) {
	for got, want := range map[string]string{
		USD(0, 30).String():             "$0.3000/h",
		Rate(50_000).String():           "$0.00005/h",
		Rate(305_000_000).Decimal():     "0.305",
		Amount(-1_234_567_890).String(): "-$1.23456789",
		Amount(12 * Dollar).String():    "$12.00",
		Amount(math.MinInt64).String():  "-$9223372036.854775807",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
