package simulator

import "encoding/json"

// cachedJSON is an encoded answer and the version it was made from.
type cachedJSON struct {
	version uint64
	made    bool
	body    []byte
}

func (c *cachedJSON) get(version uint64, make func() []byte) []byte {
	if !c.made || c.version != version {
		*c = cachedJSON{version: version, made: true, body: make()}
	}
	return c.body
}

func cached(in map[string]*cachedJSON, key string) *cachedJSON {
	c := in[key]
	if c == nil {
		c = &cachedJSON{}
		in[key] = c
	}
	return c
}

// encode makes JSON of what the simulator built, which always encodes.
func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return []byte("null")
	}
	return b
}

// encodeVM encodes a machine once for each change of it. Those long deleted are
// forgotten.
func (f *face) encodeVM(m *machine, as func(*machine) object) []byte {
	if len(f.vmJSON) > 2*len(f.e.alive)+100 {
		clear(f.vmJSON)
	}
	return cached(f.vmJSON, m.id).get(m.version, func() []byte { return encode(as(m)) })
}
