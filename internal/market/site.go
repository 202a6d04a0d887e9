package market

// Site is a place where v2 sells machines, on whichever of its hosts has room. What it
// lists may be sold out: the list is known to be stale.
type Site struct {
	Location Location   `json:"location"`
	Tier     Maybe[int] `json:"tier,omitzero"` // 0 is somebody's home
	GPUs     []SiteGPU  `json:"gpus"`          // sorted by model
}

// SiteGPU is one GPU model at a Site, with the largest machine sold and what its parts
// cost per hour.
type SiteGPU struct {
	Model       GPUModel    `json:"model"`
	Name        string      `json:"name,omitempty"` // as people call it
	Max         Maybe[int]  `json:"max,omitzero"`
	Price       Maybe[Rate] `json:"price,omitzero"` // per GPU
	MaxVCPUs    Maybe[int]  `json:"max_vcpus,omitzero"`
	MaxRAM      Maybe[int]  `json:"max_ram_gb,omitzero"`
	MaxStorage  Maybe[int]  `json:"max_storage_gb,omitzero"`
	PerVCPU     Maybe[Rate] `json:"per_vcpu,omitzero"`
	PerRAM      Maybe[Rate] `json:"per_gb_ram,omitzero"`
	PerStorage  Maybe[Rate] `json:"per_gb_storage,omitzero"`
	DedicatedIP Maybe[bool] `json:"dedicated_ip,omitzero"`
	Forwards    Maybe[bool] `json:"port_forwarding,omitzero"`
	NetDrive    Maybe[bool] `json:"network_storage,omitzero"`
}
