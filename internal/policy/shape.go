package policy

import "github.com/tdscaler/tdscaler/internal/market"

// UsualShape is a machine with so many GPUs where nothing else is said of it.
func UsualShape(gpus int) market.Shape {
	return market.Shape{GPUs: gpus, VCPUs: 4 * gpus, RAM: 16 * gpus, Storage: 100}
}
