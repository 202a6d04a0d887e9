package tensordock

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

// ContainerOrder is a container to be run in several replicas.
type ContainerOrder = market.ContainerOrder

// Replica is one running copy of a container.
type Replica = market.Replica

// Replicas lists a container's replicas, sorted by machine.
func (r *Reader) Replicas(ctx context.Context, container string) ([]Replica, error) {
	form := r.credentials()
	q := request{
		op: "list replicas", method: http.MethodGet, path: "/api/v0/client/container/" + url.PathEscape(container) + "/replicas",
		form: form, locked: len(form) == 0,
	}
	if !isSegment(container) {
		return nil, refuse(q, "no container given")
	}
	return ask(ctx, r.v0, q, decodeReplicas)
}

// ContainerDeploy runs a container. The id is empty where the answer names none,
// as the documented one does not.
func (c *Client) ContainerDeploy(ctx context.Context, o ContainerOrder) (id string, err error) {
	q := c.post("deploy container", "client/container/deploy", nil)
	q.verb = verbBuy
	if o.Name == "" || o.Image == "" || o.Replicas < 1 || len(o.Models) == 0 || o.MaxRate <= 0 {
		return "", refuse(q, "a container needs a name, an image, GPU models, replicas and a highest rate")
	}
	if err := containerForm(q.form, o); err != nil {
		return "", refuse(q, err.Error())
	}
	for _, secret := range o.Env {
		q.secrets = append(q.secrets, secret)
	}
	slices.Sort(q.secrets)
	return tell(ctx, c.v0, q, func(v value) (string, error) {
		_, err := accepted(v)
		return v.get("container_id", "id", "uuid").word(), err
	})
}

// ContainerScale sends a number of replicas. Whether the market takes it for the new
// count or adds it to the present one is not settled: its two documents contradict
// each other.
func (c *Client) ContainerScale(ctx context.Context, container string, replicas int) error {
	return c.container(ctx, verbChange, "scale container", "client/container/scale", container, url.Values{"replicas": {strconv.Itoa(replicas)}})
}

// ContainerStop ends a container and all its replicas.
func (c *Client) ContainerStop(ctx context.Context, container string) error {
	return c.container(ctx, verbDelete, "stop container", "client/container/stop", container, url.Values{})
}

func (c *Client) container(ctx context.Context, v verb, op, path, id string, f url.Values) error {
	f.Set("container_id", id)
	q := c.post(op, path, f)
	q.verb = v
	if id == "" {
		return refuse(q, "no container given")
	}
	_, err := tell(ctx, c.v0, q, accepted)
	return err
}

// containerForm writes the names of the live API and, beside them, those of the
// documented schema. Composite values go as JSON.
func containerForm(f url.Values, o ContainerOrder) error {
	f.Set("name", o.Name)
	f.Set("display_name", o.Name)
	f.Set("image", o.Image)
	f.Set("image_name", o.Image)
	f.Set("registry_type", map[bool]string{true: "private", false: "public"}[o.Private])
	f.Set("replicas", strconv.Itoa(o.Replicas))
	f.Set("max_vm_rate_hourly", o.MaxRate.Decimal())
	f.Set("gpu_model", string(o.Models[0]))
	for k, n := range map[string]int{"gpu_count": o.Shape.GPUs, "ram": o.Shape.RAM, "vcpus": o.Shape.VCPUs, "storage": o.Shape.Storage} {
		f.Set(k, strconv.Itoa(n))
	}
	if o.Project != "" {
		f.Set("project_id", o.Project)
	}
	for i, port := range o.Ports {
		f.Add("ports", strconv.Itoa(port))
		if i == 0 {
			f.Set("networking_port", strconv.Itoa(port))
		}
	}
	return errors.Join(setJSON(f, "gpu_models", o.Models), setJSON(f, "environment_variables", o.Env), setJSON(f, "volumes", o.Volumes), setJSON(f, "arguments", o.Arguments))
}

// setJSON adds a list or map unless it is empty.
func setJSON[T any](f url.Values, key string, v T) error {
	b, err := json.Marshal(v)
	if err == nil && len(b) > 2 && string(b) != "null" {
		f.Set(key, string(b))
	}
	return err
}

func decodeReplicas(v value) ([]Replica, error) {
	list := v.get("result", "replicas")
	if !list.isArray() && !list.isObject() {
		return nil, errors.New("no replicas in the answer")
	}
	out := []Replica{}
	for id, f := range list.entries() {
		r := Replica{
			Machine:   firstText(f.get("vm_uuid").word(), id),
			IP:        f.get("ip_address", "ip").word(),
			Rate:      f.get("rate_hourly").price(),
			Ports:     zipPorts(f.get("external_ports").integers().Or(nil), f.get("internal_ports").integers().Or(nil)),
			UptimeURL: f.get("hostnode_uptime_url").word(),
		}
		if r.Machine == "" {
			return nil, errors.New("a replica without a machine")
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Replica) int { return strings.Compare(a.Machine, b.Machine) })
	return out, nil
}

func zipPorts(external, internal []int) []market.PortForward {
	var out []market.PortForward
	for i := range min(len(external), len(internal)) {
		out = append(out, market.PortForward{External: external[i], Internal: internal[i]})
	}
	slices.SortFunc(out, func(a, b market.PortForward) int { return a.External - b.External })
	return out
}
