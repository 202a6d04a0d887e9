package market

import (
	"strconv"
	"strings"
)

// GPUModel is TensorDock's v0 name of a GPU, lower case:
// "geforcertx4090-pcie-24gb", pattern <model>-<bus>-<N>gb.
type GPUModel string

// VRAM reads the GB of memory from the trailing "-<N>gb" of the name.
func (m GPUModel) VRAM() Maybe[int] {
	s := strings.TrimSuffix(string(m), "gb")
	i := strings.LastIndexByte(s, '-')
	if i < 0 || len(s) == len(m) {
		return Maybe[int]{}
	}
	n, err := strconv.Atoi(s[i+1:])
	if err != nil || n <= 0 {
		return Maybe[int]{}
	}
	return Some(n)
}

// Location is where a host stands, in the market's own spelling.
type Location struct {
	ID      string `json:"id,omitempty"`
	Country string `json:"country,omitempty"`
	Region  string `json:"region,omitempty"` // state or province
	City    string `json:"city,omitempty"`
}

// String prints "City, Region, Country" of what is known.
func (l Location) String() string {
	parts := make([]string, 0, 3)
	for _, p := range []string{l.City, l.Region, l.Country} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ", ")
}

// Component is one kind of resource on a host: how much is free and what one
// unit (vCPU, GB RAM, GB storage) costs per hour.
type Component struct {
	Free  Maybe[int]  `json:"free,omitzero"`
	Price Maybe[Rate] `json:"price,omitzero"`
}

// HostGPU is one GPU model on a host. Free may be 0 and the entry still listed.
type HostGPU struct {
	Model GPUModel    `json:"model"`
	Free  int         `json:"free"`
	Price Maybe[Rate] `json:"price,omitzero"` // on-demand, per GPU
	VRAM  Maybe[int]  `json:"vram,omitzero"`  // GB
}

// Bounds are the least and the most of a resource that a host sells.
type Bounds struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

// Restriction bounds a machine's shape for one number of GPUs.
type Restriction struct {
	VCPUs   Maybe[Bounds] `json:"vcpus,omitzero"`
	RAM     Maybe[Bounds] `json:"ram_gb,omitzero"`
	Storage Maybe[Bounds] `json:"storage_gb,omitzero"`
}

// Host is one hostnode of the marketplace at one moment.
type Host struct {
	ID       string              `json:"id"`
	Location Location            `json:"location"`
	Online   bool                `json:"online"`
	Listed   bool                `json:"listed"`
	Reserved bool                `json:"reserved"`
	Uptime   Maybe[float64]      `json:"uptime,omitzero"` // fraction 0..1
	CPU      Component           `json:"cpu"`             // per vCPU
	CPUType  string              `json:"cpu_type,omitempty"`
	RAM      Component           `json:"ram"`              // per GB
	Storage  Component           `json:"storage"`          // per GB
	GPUs     []HostGPU           `json:"gpus"`             // sorted by Model
	Ports    Maybe[[]int]        `json:"ports,omitzero"`   // free external ports; known and empty means undeployable
	Limits   map[int]Restriction `json:"limits,omitempty"` // by number of GPUs
}

// GPU finds a model on the host.
func (h *Host) GPU(m GPUModel) (HostGPU, bool) {
	for i := range h.GPUs {
		if h.GPUs[i].Model == m {
			return h.GPUs[i], true
		}
	}
	return HostGPU{}, false
}

// Shape is the size of one machine.
type Shape struct {
	GPUs    int `json:"gpus"`
	VCPUs   int `json:"vcpus"`
	RAM     int `json:"ram_gb"`
	Storage int `json:"storage_gb"`
}

// OnDemandCompute is what the host asks per hour for a machine of this shape
// without its storage: the ground a spot bid competes on. Unknown where a price
// is missing. Source: the marketplace's own price formula.
func (h *Host) OnDemandCompute(g HostGPU, s Shape) Maybe[Rate] {
	gpu, ok1 := g.Price.Get()
	cpu, ok2 := h.CPU.Price.Get()
	ram, ok3 := h.RAM.Price.Get()
	if !ok1 || !ok2 || !ok3 {
		return Maybe[Rate]{}
	}
	return Some(gpu.Mul(s.GPUs).Add(cpu.Mul(s.VCPUs)).Add(ram.Mul(s.RAM)))
}

// StorageRate is what the machine's disk costs per hour, running or not.
func (h *Host) StorageRate(s Shape) Maybe[Rate] {
	p, ok := h.Storage.Price.Get()
	if !ok {
		return Maybe[Rate]{}
	}
	return Some(p.Mul(s.Storage))
}
