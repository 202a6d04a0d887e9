package tensordock

import (
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"net/url"
	"strconv"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Deploy buys a machine. It is sent once; ClassAmbiguous means that it may have
// been bought, under the order's name. Success is an acceptance, not a machine.
func (c *Client) Deploy(ctx context.Context, o market.Order) (market.Deployed, error) {
	switch o.Via {
	case market.ViaInstant:
		return c.deployInstant(ctx, o)
	case market.ViaV2:
		return c.createFor(ctx, o)
	}
	q := c.post("deploy", "client/deploy/single", nil)
	if why := faultOf(o); why != "" {
		return market.Deployed{}, refuse(q, why)
	}
	return c.buy(ctx, q, orderForm(o), o)
}

// buy sends an order's form, with a password in any case: the documented schema
// requires one. Where the order has only an SSH key, nobody knows the password.
func (c *Client) buy(ctx context.Context, q request, f url.Values, o market.Order) (market.Deployed, error) {
	password := o.Password.Reveal()
	if password == "" {
		password = "Aa1!" + rand.Text()
	}
	f.Set("password", password)
	maps.Copy(q.form, f)
	q.verb, q.secrets = verbBuy, []string{password, o.CloudInit, f.Get("cloudinit_script")}
	return tell(ctx, c.v0, q, decodeDeployed)
}

// faultOf says why an order must not be sent. A spot order without a price
// would be bought on demand, so how it is bought is never left open.
func faultOf(o market.Order) string {
	switch {
	case o.Name == "" || o.Host == "" || o.Model == "":
		return "an order needs a name, a host and a GPU model"
	case o.Shape.GPUs < 1 || o.Shape.VCPUs < 1 || o.Shape.RAM < 1 || o.Shape.Storage < 1:
		return "an order needs GPUs, vCPUs, RAM and storage"
	case o.Capacity != market.Spot && o.Capacity != market.OnDemand:
		return "an order is spot or on demand"
	case o.Capacity == market.Spot && o.Bid <= 0:
		return "a spot order needs a bid"
	}
	return entryFault(o)
}

func entryFault(o market.Order) string {
	if o.Password.IsEmpty() && o.SSHKey == "" {
		return "an order needs a password or an SSH key"
	}
	return ""
}

func orderForm(o market.Order) url.Values {
	f := shapeForm(o.Model, o.Shape)
	f.Set("name", o.Name)
	f.Set("hostnode", o.Host)
	f.Set("operating_system", o.Image)
	f.Set("deployment_type", "local")
	setAccess(f, o)
	if o.Capacity == market.Spot {
		f.Set("price_type", "spot")
		f.Set("price", o.Bid.Decimal())
	}
	return f
}

// setAccess adds ports, SSH key and cloud-init. The market splits the script at
// the two characters \n.
func setAccess(f url.Values, o market.Order) {
	external, internal := portSets(o.Ports)
	f.Set("external_ports", external)
	f.Set("internal_ports", internal)
	if o.SSHKey != "" {
		f.Set("ssh_key", strings.TrimSpace(o.SSHKey))
	}
	if o.CloudInit != "" {
		f.Set("cloudinit_script", strings.NewReplacer("\r\n", `\n`, "\n", `\n`).Replace(o.CloudInit))
	}
}

// portSets writes two sets in one order: the i-th external port leads to the
// i-th internal one.
func portSets(ports []market.PortForward) (external, internal string) {
	var ext, in []string
	for _, p := range ports {
		ext, in = append(ext, strconv.Itoa(p.External)), append(in, strconv.Itoa(p.Internal))
	}
	return "{" + strings.Join(ext, ", ") + "}", "{" + strings.Join(in, ", ") + "}"
}

// decodeDeployed reads an acceptance; without the machine's id it proves nothing.
func decodeDeployed(v value) (market.Deployed, error) {
	c := costOf(v.get("cost"))
	d := market.Deployed{
		ID:      firstText(v.get("server", "id", "uuid").text(), v.get("server").get("id", "uuid").text()),
		Compute: firstKnown(c.compute, v.get("compute_price").price()),
		Storage: firstKnown(c.storage, v.get("storage_price").price()),
		Total:   firstKnown(c.total, v.get("total_price", "rate_hourly").price()),
		IP:      v.get("ip", "ip_address").word(),
		Ports:   decodeForwards(v.get("port_forwards", "portForwards")),
	}
	if !isID(d.ID) {
		return market.Deployed{}, errors.New("no machine id in the answer")
	}
	return d, nil
}
