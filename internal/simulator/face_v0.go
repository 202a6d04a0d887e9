package simulator

import (
	"net/http"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/secret"
)

func (c *call) authTest() answer { return c.done(nil) }

func (c *call) authList() answer {
	key := authorization{name: "default", permissions: "All", note: "Made by the simulator", created: c.e.opts.Start}
	return ok(object{"success": true, "authorizations": c.shape.authorizations([]authorization{key})})
}

type authorization struct {
	name, permissions, note string
	created                 time.Time
}

// list is the account's machines but for the replicas of containers.
func (c *call) list() answer {
	defer c.e.lock()()
	return answer{status: http.StatusOK, body: c.shape.list(c.e.living())}
}

func (c *call) getSingle() answer {
	defer c.e.lock()()
	m, err := c.e.find("get", c.params.server())
	if err != nil {
		return c.refused(err)
	}
	return ok(c.shape.machine(m))
}

func (c *call) startSingle() answer  { return c.done(c.e.Start(c.params.server())) }
func (c *call) deleteSingle() answer { return c.done(c.e.Delete(c.params.server())) }

func (c *call) stopSingle() answer {
	return c.done(c.e.Stop(c.params.server(), c.params.truth("disassociate_resources")))
}

// modifySingle is a rebid where a price stands in it, else a change of size.
func (c *call) modifySingle() answer {
	id := c.params.server()
	var err error
	if c.params.has("price") {
		err = c.rebid(id)
	} else {
		err = c.e.Modify(id, market.GPUModel(c.params.text("gpu_model")), c.params.shapeOf())
	}
	if err != nil {
		return c.refused(err)
	}
	return ok(object{"success": true, "server": id})
}

func (c *call) rebid(id string) error {
	if t := c.params.text("price_type"); t != "" && t != "spot" {
		return refuseWith(http.StatusBadRequest, "modify", market.ClassRefused, "Invalid parameter: price_type")
	}
	price, err := c.params.money("price")
	if err != nil {
		return err
	}
	return c.e.Rebid(id, price)
}

// validateNew also takes a server and a price, as one client sends by mistake.
func (c *call) validateNew() answer {
	if c.params.text("hostnode") == "" && c.params.server() != "" {
		return c.validateOld()
	}
	price, err := c.params.money("price")
	if err != nil {
		return c.refused(err)
	}
	defer c.e.lock()()
	v := c.e.validate(market.Question{
		Host: c.params.text("hostnode"), Model: market.GPUModel(c.params.text("gpu_model")),
		Shape: c.usualShape(), Bid: price,
	})
	if v.Answer == market.Accepted {
		c.afterValidate(v.Question)
	}
	return ok(c.shape.verdict(v))
}

// usualShape fills in what the documented request leaves out.
func (c *call) usualShape() market.Shape {
	s := c.params.shapeOf()
	if c.params.text("vcpus") == "" {
		s.VCPUs = 2
	}
	if c.params.text("ram") == "" {
		s.RAM = 4
	}
	if c.params.text("storage") == "" {
		s.Storage = 20
	}
	return s
}

func (c *call) validateOld() answer {
	price, err := c.params.money("price")
	if err != nil {
		return c.refused(err)
	}
	defer c.e.lock()()
	v, err := c.e.validateExisting(c.params.server(), price)
	if err != nil {
		return c.refused(err)
	}
	return ok(c.shape.verdict(v))
}

// deploySingle is the only way to buy, on demand and (with price_type) by bid.
func (c *call) deploySingle() answer {
	d, err := c.order()
	if err != nil {
		return c.refused(err)
	}
	d.neverUp = c.hit.is(faultNeverUp)
	defer c.e.lock()()
	m, err := c.e.deploy(d)
	if err != nil {
		return c.refused(err)
	}
	return ok(c.deployed(m))
}

func (c *call) deployed(m *machine) object {
	return object{
		"success": true, "server": m.id, "execution_id": 1000 + c.e.executed, "ip": m.pool.host.ip,
		"port_forwards": c.shape.ports(m.order.Ports),
		"cost":          object{"compute_price": m.rate, "storage_price": m.storage, "total_price": m.rate.Add(m.storage)},
	}
}

func (c *call) order() (deployment, error) {
	p := c.params
	bad := func(format string, args ...any) error {
		return refuseWith(http.StatusBadRequest, "deploy", market.ClassRefused, format, args...)
	}
	ports, err := p.ports()
	if err != nil {
		return deployment{}, bad("%s", err)
	}
	d := deployment{api: market.V0, boot: c.e.opts.Boot, Order: market.Order{
		Name: p.text("name"), Host: p.text("hostnode"), Model: market.GPUModel(p.text("gpu_model")), Shape: p.shapeOf(),
		Capacity: market.OnDemand, Image: p.text("operating_system"), Ports: ports,
		Password: secret.New(p.text("password")), SSHKey: p.text("ssh_key"), CloudInit: p.text("cloudinit_script"),
	}}
	if _, known := images[d.Image]; !known {
		return d, bad("Invalid parameter: operating_system")
	}
	if least := leastStorage(d.Image); d.Shape.Storage < least {
		return d, bad("storage must be at least %d for %s", least, d.Image)
	}
	if p.text("deployment_type") == "network" {
		d.Host, d.location = "", p.text("location")
	}
	switch p.text("price_type") {
	case "", "ondem", "ondemand", "on-demand":
		return d, nil
	case "spot":
		d.Capacity = market.Spot
		d.Bid, err = p.money("price")
		return d, err
	}
	return d, bad("Invalid parameter: price_type")
}

// leastStorage is what an operating system needs, in GB.
func leastStorage(image string) int {
	switch {
	case strings.HasPrefix(image, "Windows"):
		return 90
	case strings.HasPrefix(image, "TensorML"):
		return 40
	}
	return 20
}

func (c *call) balance() answer {
	b := c.e.Balance()
	return ok(c.shape.balance(b))
}
