package market

// Stop is what a change in the form of the market's answers stops.
type Stop string

// What may be stopped, the gravest last. What an operator destroys goes on in any case.
const (
	StopNothing Stop = ""
	StopV2      Stop = "v2"     // writes through v2
	StopGrowth  Stop = "growth" // deploys and raises
	StopWrites  Stop = "writes" // deletions too
)

// Kinds of drift.
const (
	DriftUnknown    = "unknown"    // a member that nobody has seen before
	DriftMissing    = "missing"    // a member that was always there is not
	DriftUnreadable = "unreadable" // the answer as a whole is in a form that is not understood
)

// Drift is one way in which an answer departs from the form it was known in. It holds
// names of members, never what they say.
type Drift struct {
	Kind  string `json:"kind"`
	Field string `json:"field,omitempty"` // with a dot below another
	Stops Stop   `json:"stops,omitempty"`
}
