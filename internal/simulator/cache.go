package simulator

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
