package simulator

import (
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

// place is a city with hosts. Tier 0 is somebody's home.
type place struct {
	city, region, country string
	tier                  int
	dc                    string
}

var places = []place{
	{"Joplin", "Missouri", "United States", 3, "Joplin Colo"},
	{"Dallas", "Texas", "United States", 3, "Trinity DC"},
	{"Ashburn", "Virginia", "United States", 4, "Loudoun East"},
	{"Manassas", "Virginia", "United States", 3, "Bull Run DC"},
	{"Salt Lake City", "Utah", "United States", 2, "Wasatch Racks"},
	{"Wilmington", "Delaware", "United States", 2, "Christina Colo"},
	{"Las Vegas", "Nevada", "United States", 3, "Mojave DC"},
	{"Los Angeles", "California", "United States", 3, "Wilshire Hub"},
	{"Chicago", "Illinois", "United States", 3, "Prairie DC"},
	{"New York City", "New York", "United States", 2, "Hudson Colo"},
	{"Spokane", "Washington", "United States", 0, ""},
	{"Winnipeg", "Manitoba", "Canada", 0, ""},
	{"Montreal", "Quebec", "Canada", 3, "Mont-Royal DC"},
	{"London", "England", "United Kingdom", 3, "Docklands South"},
	{"Amsterdam", "North Holland", "Netherlands", 3, "Amstel DC"},
	{"Frankfurt", "Hesse", "Germany", 4, "Main DC"},
	{"Warsaw", "Masovia", "Poland", 2, "Wisla Colo"},
	{"Paris", "Ile-de-France", "France", 3, "Seine DC"},
	{"Stockholm", "Stockholm County", "Sweden", 3, "Malaren DC"},
	{"Oslo", "Oslo", "Norway", 2, "Fjord Colo"},
	{"Helsinki", "Uusimaa", "Finland", 2, "Vantaa Racks"},
	{"Sofia", "Sofia City", "Bulgaria", 0, ""},
	{"Mumbai", "Maharashtra", "India", 3, "Navi DC"},
	{"Singapore", "Singapore", "Singapore", 4, "Jurong DC"},
	{"Tokyo", "Tokyo", "Japan", 3, "Koto DC"},
	{"Sydney", "New South Wales", "Australia", 2, "Botany Colo"},
}

// gpuKind is a GPU model with its usual on-demand price and how common it is.
type gpuKind struct {
	model  market.GPUModel
	price  int64 // nano-USD per hour and GPU
	weight int
	dear   bool
}

const cent = int64(market.Cent)

var catalogue = []gpuKind{
	{"geforcertx4090-pcie-24gb", 35 * cent, 14, false},
	{"geforcertx3090-pcie-24gb", 20 * cent, 8, false},
	{"rtxa6000-pcie-48gb", 42 * cent, 7, false},
	{"rtxa5000-pcie-24gb", 22 * cent, 4, false},
	{"rtxa4000-pcie-16gb", 15 * cent, 6, false},
	{"rtx6000ada-pcie-48gb", 75 * cent, 4, false},
	{"rtx4000ada-pcie-20gb", 25 * cent, 3, false},
	{"l4-pcie-24gb", 40 * cent, 3, false},
	{"l40s-pcie-48gb", 95 * cent, 4, true},
	{"l40-pcie-48gb", 85 * cent, 3, true},
	{"a40-pcie-48gb", 45 * cent, 3, false},
	{"v100-sxm2-16gb", 20 * cent, 5, false},
	{"v100-pcie-16gb", 19 * cent, 3, false},
	{"a100-pcie-80gb", 135 * cent, 5, true},
	{"a100-sxm4-80gb", 150 * cent, 4, true},
	{"h100-sxm5-80gb", 225 * cent, 6, true},
	{"geforcertx5090-pcie-32gb", 55 * cent, 4, false},
	{"geforcertx3080-pcie-10gb", 14 * cent, 2, false},
	{"geforcertx3060-pcie-12gb", 8 * cent, 2, false},
	{"quadrortx8000-pcie-48gb", 30 * cent, 2, false},
}

var cpuTypes = []string{
	"AMD EPYC 7402P", "AMD EPYC 7543", "AMD EPYC 9354", "AMD Ryzen 9 5950X", "AMD Threadripper 3970X",
	"Intel Xeon E5-2690 v4", "Intel Xeon Gold 6248", "Intel Xeon Platinum 8352Y",
}

// images are the operating systems the marketplace offers, by their v0 names.
var images = map[string]string{
	"Ubuntu 20.04 LTS": "", "Ubuntu 22.04 LTS": "ubuntu2204", "Ubuntu 24.04 LTS": "ubuntu2404",
	"TensorML 20 Everything": "", "TensorML 20 PyTorch": "", "TensorML 20 TensorFlow": "", "TensorML 20 RAPIDS": "",
	"TensorML 24 Everything": "ubuntu2404_ml_everything", "TensorML 24 PyTorch": "ubuntu2404_ml_pytorch",
	"TensorML 24 TensorFlow": "ubuntu2404_ml_tensorflow", "Windows 10": "windows10",
}

func slug(s string) string { return strings.ReplaceAll(strings.ToLower(s), " ", "-") }
