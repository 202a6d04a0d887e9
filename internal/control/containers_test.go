package control_test

import (
	"testing"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
)

func aboutContainers(t *testing.T, w world) {
	if all := must[[]control.Container](t)(w.Containers(t.Context(), control.MachinesRequest{})); all == nil || len(all) != 0 {
		t.Errorf("%v", all)
	}
	for _, c := range []struct {
		word daemon.Adoption
		want control.Class
	}{
		{daemon.Adoption{Policy: "train"}, control.Usage},
		{daemon.Adoption{Policy: "train", ID: "x", None: true}, control.Usage},
		{daemon.Adoption{Policy: "train", None: true, Replicas: 1}, control.Usage},
		{daemon.Adoption{Policy: "trian", None: true}, control.NoSuchPolicy},
		{daemon.Adoption{Policy: "train", None: true}, control.NotFound},
	} {
		if _, err := w.AdoptContainer(t.Context(), c.word); control.ClassOf(err) != c.want {
			t.Errorf("%+v: %v, want %s", c.word, err, c.want)
		}
	}
}
