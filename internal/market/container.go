package market

// ContainerOrder is a container to be run in several replicas: each of them is an
// on-demand machine that the market chooses.
type ContainerOrder struct {
	Name      string
	Project   string // project ID, optional
	Image     string
	Private   bool // the registry needs a login
	Models    []GPUModel
	Shape     Shape // of one replica
	Replicas  int
	Ports     []int // of the container
	Env       map[string]string
	Volumes   []string
	Arguments []string
	MaxRate   Rate // per replica and hour: containers have a ceiling, not a bid
}

// Replica is one running copy of a container.
type Replica struct {
	Machine   string        `json:"machine"` // the id of the machine that runs it
	IP        string        `json:"ip,omitempty"`
	Rate      Maybe[Rate]   `json:"rate_usd_hour,omitzero"`
	Ports     []PortForward `json:"ports,omitempty"` // sorted by External
	UptimeURL string        `json:"uptime_url,omitempty"`
}

// ReplicaList is what a look shows of one container.
type ReplicaList struct {
	Container string             `json:"container"` // its id
	Replicas  Section[[]Replica] `json:"replicas"`  // sorted by Machine
	// Gone: the market, asked for it, says that there is no such container.
	Gone bool `json:"gone,omitempty"`
}
