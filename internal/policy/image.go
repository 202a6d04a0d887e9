package policy

import "strings"

// DefaultImage is what a machine runs unless its policy says otherwise.
const DefaultImage = "Ubuntu 22.04 LTS"

// image is an operating system that the marketplace offers.
type image struct {
	name    string // of the v0 API
	alias   string // of the v2 API, "" if it has none
	storage int    // GB it needs at least
	login   int    // port
}

func images() []image {
	return []image{
		{"Ubuntu 20.04 LTS", "ubuntu2004", 20, 22},
		{"Ubuntu 22.04 LTS", "ubuntu2204", 20, 22},
		{"Ubuntu 24.04 LTS", "ubuntu2404", 20, 22},
		{"TensorML 20 Everything", "ubuntu2004_ml_everything", 60, 22},
		{"TensorML 20 PyTorch", "ubuntu2004_ml_pytorch", 40, 22},
		{"TensorML 20 TensorFlow", "ubuntu2004_ml_tensorflow", 40, 22},
		{"TensorML 20 RAPIDS", "ubuntu2004_ml_rapids", 40, 22},
		{"TensorML 24 Everything", "ubuntu2404_ml_everything", 60, 22},
		{"TensorML 24 PyTorch", "ubuntu2404_ml_pytorch", 40, 22},
		{"TensorML 24 TensorFlow", "ubuntu2404_ml_tensorflow", 40, 22},
		{"Windows 10", "windows10", 90, 3389},
	}
}

// findImage knows an image by either name, without regard to case.
func findImage(name string) (image, bool) {
	for _, i := range images() {
		if strings.EqualFold(name, i.name) || strings.EqualFold(name, i.alias) {
			return i, true
		}
	}
	return image{}, false
}

// imageName is the v0 name of an image; one that is not known stays as written.
func imageName(written string) string {
	if i, ok := findImage(written); ok {
		return i.name
	}
	return written
}

// imageV2 is v2's name of a v0 image; "" if it has none.
func imageV2(name string) string {
	i, _ := findImage(name)
	return i.alias
}

func nearestImage(name string) (string, bool) {
	var names []string
	for _, i := range images() {
		names = append(names, i.name, i.alias)
	}
	return Nearest(name, names)
}
