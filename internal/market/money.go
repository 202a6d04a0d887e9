package market

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// Rate is money per hour, in nano-USD per hour.
//
// Arithmetic saturates at MaxRate instead of wrapping: a sum that does not fit
// is treated as "too expensive", never as cheap.
type Rate int64

// Amount is money, in nano-USD. It may be negative (an overdrawn balance).
type Amount int64

// Units of Amount and, per hour, of Rate.
const (
	Nano   = 1
	Cent   = 10_000_000
	Dollar = 1_000_000_000

	MaxRate   Rate   = math.MaxInt64
	MaxAmount Amount = math.MaxInt64
)

// Rounding says in which direction digits beyond the ninth are dropped.
type Rounding int

const (
	// RoundUp is for what we pay.
	RoundUp Rounding = iota
	// RoundDown is for what we own, and for ceilings.
	RoundDown
)

// ErrMoney is wrapped by every error of ParseNano.
var ErrMoney = errors.New("not an amount of money")

// ParseNano reads a decimal number of dollars ("0.305", "5e-05", "-1.2") as
// nano-USD, exactly, without going through a float. Digits beyond the ninth are
// rounded in the given direction. NaN, infinities, hexadecimal and values beyond
// about 9.2 billion dollars are errors that wrap ErrMoney.
func ParseNano(text string, r Rounding) (int64, error) {
	fail := func(why string) (int64, error) {
		return 0, fmt.Errorf("%w: %q %s", ErrMoney, text, why)
	}
	s := strings.TrimSpace(text)
	neg := false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		s = s[1:]
	}
	exp := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.Atoi(s[i+1:])
		if err != nil || e > 40 || e < -400 {
			return fail("has an exponent out of range")
		}
		exp, s = e, s[:i]
	}
	whole, frac, _ := strings.Cut(s, ".")
	digits := whole + frac
	if digits == "" {
		return fail("has no digits")
	}
	if len(digits) > 400 {
		return fail("is too long")
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return fail("is not a decimal number")
		}
	}
	// The value is digits x 10^(exp-len(frac)) dollars; shift to nano.
	shift := exp - len(frac) + 9
	rest := false // digits dropped that were not all zero
	for shift < 0 && digits != "" {
		rest = rest || digits[len(digits)-1] != '0'
		digits = digits[:len(digits)-1]
		shift++
	}
	digits = strings.TrimLeft(digits, "0")
	if digits == "" {
		shift = 0
	}
	if len(digits)+shift > 19 {
		return fail("is too large")
	}
	digits += strings.Repeat("0", max(shift, 0))
	var n uint64
	if digits != "" {
		var err error
		if n, err = strconv.ParseUint(digits, 10, 64); err != nil || n > math.MaxInt64 {
			return fail("is too large")
		}
	}
	if rest && ((r == RoundUp) != neg) {
		if n == math.MaxInt64 {
			return fail("is too large")
		}
		n++
	}
	if neg {
		return -int64(n), nil
	}
	return int64(n), nil
}

// ParseRate reads dollars per hour as a Rate, rounding up.
func ParseRate(text string) (Rate, error) {
	n, err := ParseNano(text, RoundUp)
	return Rate(n), err
}

// ParseAmount reads dollars as an Amount, rounding down.
func ParseAmount(text string) (Amount, error) {
	n, err := ParseNano(text, RoundDown)
	return Amount(n), err
}

// USD builds a Rate from whole dollars and cents, for constants and tests.
func USD(dollars, cents int64) Rate { return Rate(dollars*Dollar + cents*Cent) }

// Add returns r+o, saturating.
func (r Rate) Add(o Rate) Rate { return Rate(satAdd(int64(r), int64(o))) }

// Sub returns r-o, saturating.
func (r Rate) Sub(o Rate) Rate { return Rate(satAdd(int64(r), satNeg(int64(o)))) }

// Mul returns r x n, saturating. n is a count (GPUs, GB, vCPUs).
func (r Rate) Mul(n int) Rate {
	if r == 0 || n == 0 {
		return 0
	}
	p := int64(r) * int64(n)
	if p/int64(n) != int64(r) || p == math.MinInt64 || (r == math.MinInt64 && n == -1) {
		if (r < 0) == (n < 0) {
			return MaxRate
		}
		return -MaxRate
	}
	return Rate(p)
}

// PerGPU divides a whole machine's rate by its GPUs, rounding up.
func (r Rate) PerGPU(gpus int) Rate {
	if gpus <= 1 {
		return r
	}
	n := int64(gpus)
	q := int64(r) / n
	if int64(r)%n > 0 {
		q++
	}
	return Rate(q)
}

// CeilCent rounds up to whole cents, FloorCent down: bids are whole cents.
func (r Rate) CeilCent() Rate {
	m := r % Cent
	if m > 0 {
		return r.Add(Cent - m)
	}
	return r - m
}

// FloorCent rounds down to whole cents.
func (r Rate) FloorCent() Rate {
	m := r % Cent
	if m < 0 {
		m += Cent
	}
	return r.Sub(m)
}

// Scale returns r x num/den, rounding up; den must be positive.
func (r Rate) Scale(num, den int64) Rate {
	return Rate(mulDiv(int64(r), num, den))
}

// For is what the rate costs over d, rounding up. A negative d costs nothing:
// a clock that jumps back must not earn money.
func (r Rate) For(d time.Duration) Amount {
	if d <= 0 {
		return 0
	}
	return Amount(mulDiv(int64(r), int64(d), int64(time.Hour)))
}

// String prints "$0.3050/h": four decimals, more where they are needed.
func (r Rate) String() string { return "$" + trimDecimals(int64(r), 4) + "/h" }

// Decimal prints the exact dollars per hour without a unit: "0.305".
func (r Rate) Decimal() string { return decimal(int64(r)) }

// Float is for metrics and plots only, never for decisions.
func (r Rate) Float() float64 { return float64(r) / Dollar }

// MarshalJSON writes the exact number of dollars per hour.
func (r Rate) MarshalJSON() ([]byte, error) { return []byte(decimal(int64(r))), nil }

// UnmarshalJSON reads a number or a quoted number of dollars per hour.
func (r *Rate) UnmarshalJSON(b []byte) error {
	n, err := ParseNano(strings.Trim(string(b), `"`), RoundUp)
	*r = Rate(n)
	return err
}

// Add returns a+b, saturating.
func (a Amount) Add(b Amount) Amount { return Amount(satAdd(int64(a), int64(b))) }

// Sub returns a-b, saturating.
func (a Amount) Sub(b Amount) Amount { return Amount(satAdd(int64(a), satNeg(int64(b)))) }

// String prints "$12.34": two decimals, more where they are needed.
func (a Amount) String() string {
	if a < 0 {
		return "-$" + trimDecimals(-int64(max(a, -MaxAmount)), 2)
	}
	return "$" + trimDecimals(int64(a), 2)
}

// Decimal prints the exact dollars without a unit.
func (a Amount) Decimal() string { return decimal(int64(a)) }

// Float is for metrics and plots only, never for decisions.
func (a Amount) Float() float64 { return float64(a) / Dollar }

// MarshalJSON writes the exact number of dollars.
func (a Amount) MarshalJSON() ([]byte, error) { return []byte(decimal(int64(a))), nil }

// UnmarshalJSON reads a number or a quoted number of dollars.
func (a *Amount) UnmarshalJSON(b []byte) error {
	n, err := ParseNano(strings.Trim(string(b), `"`), RoundDown)
	*a = Amount(n)
	return err
}

func satAdd(a, b int64) int64 {
	s := a + b
	if a > 0 && b > 0 && s < 0 {
		return math.MaxInt64
	}
	if a < 0 && b < 0 && s >= 0 || s == math.MinInt64 {
		return -math.MaxInt64 // the least value has no negative
	}
	return s
}

func satNeg(n int64) int64 { return -max(n, -math.MaxInt64) }

// mulDiv is ceil(a x b / c) for c > 0, saturating, without overflow in between.
func mulDiv(a, b, c int64) int64 {
	neg := (a < 0) != (b < 0)
	hi, lo := bits.Mul64(abs64(a), abs64(b))
	if hi >= uint64(c) {
		if neg {
			return -math.MaxInt64
		}
		return math.MaxInt64
	}
	q, rem := bits.Div64(hi, lo, uint64(c))
	q = min(q, math.MaxInt64) // before the rounding, which could wrap
	if rem > 0 && !neg && q < math.MaxInt64 {
		q++
	}
	if neg {
		return -int64(q)
	}
	return int64(q)
}

func abs64(n int64) uint64 {
	if n < 0 {
		return uint64(-(n + 1)) + 1
	}
	return uint64(n)
}

// decimal prints n nano as an exact decimal without trailing zeros.
func decimal(n int64) string {
	sign := ""
	u := abs64(n)
	if n < 0 {
		sign = "-"
	}
	s := fmt.Sprintf("%s%d", sign, u/Dollar)
	if f := u % Dollar; f != 0 {
		s += "." + strings.TrimRight(fmt.Sprintf("%09d", f), "0")
	}
	return s
}

// trimDecimals is decimal with at least the given number of decimals.
func trimDecimals(n int64, least int) string {
	s := decimal(n)
	whole, frac, _ := strings.Cut(s, ".")
	for len(frac) < least {
		frac += "0"
	}
	return whole + "." + frac
}
