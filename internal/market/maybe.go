package market

import "encoding/json"

// Maybe is a value the market may have left out. The zero value is unknown, so
// that a field nobody filled in is never taken for zero.
type Maybe[T any] struct {
	value T
	known bool
}

// Some is a known value.
func Some[T any](v T) Maybe[T] { return Maybe[T]{value: v, known: true} }

// Get returns the value and whether it is known.
func (m Maybe[T]) Get() (T, bool) { return m.value, m.known }

// Known says whether there is a value.
func (m Maybe[T]) Known() bool { return m.known }

// Or returns the value, or fallback where it is unknown.
func (m Maybe[T]) Or(fallback T) T {
	if m.known {
		return m.value
	}
	return fallback
}

// IsZero lets encoding/json's omitzero drop unknown values.
func (m Maybe[T]) IsZero() bool { return !m.known }

// MarshalJSON writes null for unknown.
func (m Maybe[T]) MarshalJSON() ([]byte, error) {
	if !m.known {
		return []byte("null"), nil
	}
	b, err := json.Marshal(m.value)
	if string(b) == "null" { // a known list without a backing array is empty, not unknown
		b = []byte("[]")
	}
	return b, err
}

// UnmarshalJSON reads null as unknown.
func (m *Maybe[T]) UnmarshalJSON(b []byte) error {
	*m = Maybe[T]{}
	if string(b) == "null" {
		return nil
	}
	if err := json.Unmarshal(b, &m.value); err != nil {
		return err
	}
	m.known = true
	return nil
}
