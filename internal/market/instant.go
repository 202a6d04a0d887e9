package market

// Instant is a machine that waits ready-made: its size, image and price are not ours
// to choose. It is sold on demand.
type Instant struct {
	ID string `json:"id"`
	// Many: this is a size in which any number of machines can be had, and not one
	// machine, as far as the list tells.
	Many     bool           `json:"many,omitempty"`
	Host     string         `json:"host,omitempty"`
	Location Location       `json:"location,omitzero"`
	Uptime   Maybe[float64] `json:"uptime,omitzero"` // fraction 0..1
	Model    GPUModel       `json:"gpu_model"`
	Shape    Shape          `json:"shape"`
	Image    string         `json:"image,omitempty"`
	Compute  Maybe[Rate]    `json:"compute_usd_hour,omitzero"` // whole machine, without storage
	Storage  Maybe[Rate]    `json:"storage_usd_hour,omitzero"`
	Total    Maybe[Rate]    `json:"total_usd_hour,omitzero"`
}

// Price is what the machine costs per hour all-in; unknown where the market does not
// tell. Of a sum and its parts that do not agree, the dearer counts.
func (i *Instant) Price() Maybe[Rate] {
	compute, ok1 := i.Compute.Get()
	storage, ok2 := i.Storage.Get()
	if ok1 && ok2 {
		return Some(max(compute.Add(storage), i.Total.Or(0)))
	}
	return i.Total
}
