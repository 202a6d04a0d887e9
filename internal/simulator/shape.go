package simulator

import "github.com/tdscaler/tdscaler/internal/market"

// shape is the form in which the face says things: as recorded or as documented.
// Its methods are called under the engine's lock.
type shape interface {
	failure(text string) object
	hostMap() (open, closing string)
	host(h *host) any
	singleHost(encoded []byte) []byte
	list(ms []*machine) []byte
	machine(m *machine) any // as get/single answers
	ports(fs []market.PortForward) object
	verdict(v verdict) object
	balance(b market.Balance) object
	authorizations(as []authorization) any

	failure2(status int, text string) answer
	instances2(ms []*machine) any
	instance2(m *machine) any
	created2(m *machine) answer
	status2(id, status string) any
	success2(text string) any
}
