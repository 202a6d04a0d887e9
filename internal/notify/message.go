package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// Status says what a message is about.
type Status string

// Statuses. A message of several items is firing where one of them is.
const (
	Firing   Status = "firing"
	Resolved Status = "resolved"
	Notice   Status = "notice" // happened, and is nothing that ends
)

// Message is what is told at once. The zero values of the optional fields are fine: a
// Message of Event, Severity, Title and Body can be sent.
type Message struct {
	ID       string                `json:"id"` // the same for each try to deliver it
	Event    policy.NotifyEvent    `json:"event"`
	Status   Status                `json:"status"`
	Severity policy.NotifySeverity `json:"severity"`
	// Policy is the one policy that it is about; "" is several, or the fleet.
	Policy string      `json:"policy,omitempty"`
	Owner  string      `json:"owner"`
	Mode   policy.Mode `json:"mode"`
	At     time.Time   `json:"at"`
	// Title is one line. Body is plain text of several; sinks escape both for their markup.
	Title string `json:"title"`
	Body  string `json:"text"`
	// HTML is the same for those who read mail in it, and already escaped; "" is none.
	HTML string `json:"-"`
	// Columns: the Body is aligned by blanks, and wants a font of one width.
	Columns bool   `json:"-"`
	Items   []Item `json:"items,omitempty"`
}

// Item is one condition or event of a message.
type Item struct {
	Event    policy.NotifyEvent    `json:"event"`
	Policy   string                `json:"policy,omitempty"`
	Detail   string                `json:"detail,omitempty"` // tells it from others of its event and policy
	Status   Status                `json:"status"`
	Severity policy.NotifySeverity `json:"severity"`
	Since    time.Time             `json:"since"`
	Until    time.Time             `json:"until,omitzero"` // where it is over
	Title    string                `json:"title"`
	Reason   string                `json:"reason,omitempty"`
	Figures  []Figure              `json:"figures,omitempty"`
	Command  string                `json:"command,omitempty"` // what to type
	Runbook  string                `json:"runbook,omitempty"` // where it is explained
}

// Figure is a number with its unit, and what it is of.
type Figure struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// identified gives a message its id: what it says, and when.
func (m Message) identified() Message {
	m.ID = ""
	b, err := json.Marshal(m)
	if err != nil { // no field of it can fail
		b = []byte(m.Title)
	}
	sum := sha256.Sum256(b)
	m.ID = hex.EncodeToString(sum[:12])
	return m
}

// headline is the title as a sink shows it: nobody must take a dry run for money.
func (m *Message) headline() string {
	t := line(m.Title)
	if m.Mode == policy.DryRun {
		t = "[dry-run] " + t
	}
	return t
}

// line is a text in one printable line.
func line(s string) string {
	return strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)), " ")
}

// lines is a text without what a terminal, or a protocol, would obey.
func lines(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, strings.ReplaceAll(s, "\r\n", "\n"))
}

// cut shortens a text to so many characters, and says so.
func cut(s string, most int) string {
	const said = "\n… (cut; see tdscaler status)"
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:max(most-len([]rune(said)), 0)]) + said
}
