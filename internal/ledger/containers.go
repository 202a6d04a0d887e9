package ledger

import (
	"reflect"
	"slices"

	"github.com/tdscaler/tdscaler/internal/plan"
)

// cloneContainer copies what lies below a copied container.
func cloneContainer(c *plan.Container) {
	c.Models = slices.Clone(c.Models)
	c.Guesses = slices.Clone(c.Guesses)
	c.Before = slices.Clone(c.Before)
	c.Suspects = slices.Clone(c.Suspects)
	c.Replicas = slices.Clone(c.Replicas)
	for i := range c.Replicas {
		c.Replicas[i].Ports = slices.Clone(c.Replicas[i].Ports)
	}
	c.Leaving = clonePointer(c.Leaving)
	if c.Scale = clonePointer(c.Scale); c.Scale != nil {
		c.Scale.From = slices.Clone(c.Scale.From)
	}
}

// saveContainers writes the containers as one record where one of them changed: there
// are few.
func saveContainers(w *writer, old, list []plan.Container) error {
	sortBy(list, func(c *plan.Container) string { return c.Name })
	switch {
	case len(old) == 0 && len(list) == 0, reflect.DeepEqual(old, list):
		return nil
	case len(list) == 0:
		return w.del(bucketBooks, []byte(bookContainers))
	}
	return w.putJSON(bucketBooks, []byte(bookContainers), list)
}
