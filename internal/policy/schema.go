package policy

import (
	"encoding/json"
	"fmt"

	"github.com/invopop/jsonschema"
)

// Schema is the JSON Schema (2020-12) of the file, for editors. It is generated
// from the raw file types; Parse knows more than a schema can say.
func Schema() ([]byte, error) {
	r := jsonschema.Reflector{FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true, DoNotReference: true, Anonymous: true}
	s := r.Reflect(&file{})
	s.Title = "tdscaler policies"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the schema: %w", err)
	}
	return append(b, '\n'), nil
}

// JSONSchema implements what invopop/jsonschema asks a type for.
func (text) JSONSchema() *jsonschema.Schema { return &jsonschema.Schema{Type: "string"} }

// JSONSchema says how whole numbers are written.
func (integer) JSONSchema() *jsonschema.Schema { return &jsonschema.Schema{Type: "integer"} }

// JSONSchema says how numbers are written.
func (number) JSONSchema() *jsonschema.Schema { return &jsonschema.Schema{Type: "number"} }

// JSONSchema says how booleans are written.
func (boolean) JSONSchema() *jsonschema.Schema { return &jsonschema.Schema{Type: "boolean"} }

// JSONSchema says how money is written.
func (money) JSONSchema() *jsonschema.Schema { return &jsonschema.Schema{Type: "number"} }

// JSONSchema says how times are written.
func (moment) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Format: "date-time"}
}

// JSONSchema says how durations are written.
func (duration) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: plainDuration.String(), Examples: []any{"90s", "1h30m"}}
}

// JSONSchema says how shares of a target are written.
func (share) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		{Type: "integer", Minimum: json.Number("1")}, {Type: "string", Pattern: plainPercent.String()},
	}}
}

// JSONSchema says how sizes are written.
func (size) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: plainSize.String(), Examples: []any{"512MiB", "1GiB"}}
}

// JSONSchema says how lists of texts are written.
func (texts) JSONSchema() *jsonschema.Schema {
	most := uint64(maxEntries)
	return &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "string", Pattern: `\S`}, UniqueItems: true, MaxItems: &most}
}

// JSONSchema says how lists of ports are written.
func (ports) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "integer"}, UniqueItems: true, Default: []int{22}}
}

// JSONSchema says how labels are written.
func (labels) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "object", AdditionalProperties: &jsonschema.Schema{Type: "string"}}
}
