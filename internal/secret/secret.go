// Package secret holds values that must never be seen: API keys, tokens and
// passwords. A String prints as [redacted] under fmt, JSON, YAML, zap and %#v;
// the value leaves only through Reveal, so every use can be found by name.
package secret

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Redacted is what a secret prints as.
const Redacted = "[redacted]"

// String is a secret text. The zero value is the empty secret. Compare what
// Reveal returns: == compares identity.
//
// The text is behind a pointer because fmt goes past every method where it prints
// an unexported field, or %p: then it shows an address.
type String struct{ value *string }

// New wraps a secret text.
func New(v string) String { return String{value: &v} }

// Reveal returns the secret. Call it only where the value leaves the process.
func (s String) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Sign is the HMAC-SHA256, keyed with the secret, of a timestamp, a dot and a body: how
// every webhook of ours is signed, those that are sent and those that are taken.
func (s String) Sign(stamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(s.Reveal()))
	mac.Write([]byte(stamp + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// Headers of a signed request: when it was signed, in seconds since 1970, and "sha256=" and
// the signature in hexadecimal.
const (
	HeaderTimestamp = "X-Tdscaler-Timestamp"
	HeaderSignature = "X-Tdscaler-Signature"
)

// MinKey is how many bytes a secret that requests are signed with has at least.
const MinKey = 16

// Headers are those of a request with this body that is signed now.
func (s String) Headers(now time.Time, body []byte) map[string]string {
	stamp := strconv.FormatInt(now.Unix(), 10)
	return map[string]string{HeaderTimestamp: stamp, HeaderSignature: "sha256=" + hex.EncodeToString(s.Sign(stamp, body))}
}

// Key takes the text of the file of a secret that requests are signed with.
func Key(text string) (String, error) {
	k := strings.TrimSpace(text)
	if len(k) < MinKey {
		return String{}, fmt.Errorf("it must hold at least %d bytes", MinKey)
	}
	return New(k), nil
}

// IsEmpty says whether there is no secret.
func (s String) IsEmpty() bool { return s.Reveal() == "" }

// String implements fmt.Stringer.
func (s String) String() string { return Redacted }

// Format implements fmt.Formatter for every verb, so that %x or %#v print
// nothing either.
func (s String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

// GoString implements fmt.GoStringer.
func (s String) GoString() string { return Redacted }

// MarshalText implements encoding.TextMarshaler (JSON, zap, flag).
func (s String) MarshalText() ([]byte, error) { return []byte(Redacted), nil }

// MarshalJSON implements json.Marshaler.
func (s String) MarshalJSON() ([]byte, error) { return []byte(`"` + Redacted + `"`), nil }

// MarshalYAML implements yaml.Marshaler.
func (s String) MarshalYAML() (any, error) { return Redacted, nil }
