package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
)

func machinesCommand() *cobra.Command {
	var f deskFlags
	var r control.MachinesRequest
	var ssh bool
	cmd := &cobra.Command{
		Use:   "machines --config FILE",
		Short: "List the machines we have: policy, status, place, address, rate, age",
		Long: `machines lists what is in the books: every machine that exists or may exist. The
password of a machine that has no SSH key is in the file that is named, mode 0600.

When to use it: to get into a machine, to feed an inventory, to compare with
TensorDock's dashboard.`,
		Example: "  tdscaler machines --config policies.yaml\n  tdscaler machines --config policies.yaml --ssh-config >> ~/.ssh/config",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ssh && f.json {
				return usageError("--ssh-config and --json exclude each other")
			}
			return f.at(cmd, func(s *session) error {
				found, err := s.desk.Machines(s.Context(), r)
				if err != nil {
					return err
				}
				if ssh {
					return writeSSHConfig(s.OutOrStdout(), found)
				}
				boxes, err := s.desk.Containers(s.Context(), r)
				if err != nil {
					return err
				}
				return s.printed(found, func(t *table) {
					t.machines(found)
					if len(boxes) > 0 {
						t.gap()
						t.containers(boxes)
					}
				})
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&r.Policy, "policy", "", "only of this `POLICY`")
	cmd.Flags().BoolVar(&ssh, "ssh-config", false, "print Host blocks for ~/.ssh/config instead")
	return cmd
}

func (t *table) machines(all []control.Machine) {
	if len(all) == 0 {
		t.line("no machines")
		return
	}
	t.row("MACHINE", "POLICY", "STATUS", "GPUS", "PLACE", "ADDRESS", "PORTS", "USER", "BURN", "RESERVED", "AGE", "PASSWORD FILE")
	for i := range all {
		m := &all[i]
		t.row(m.Name, m.Policy, shaded(statusOf(m), machineStyle), gpus(m.Model, m.Shape), place(m), m.IP, portsText(m.Ports), m.User,
			m.Burn, m.Reserved, seconds(m.AgeSeconds), m.PasswordFile)
	}
}

// statusOf is the market's word for a machine, or ours where the market has none.
func statusOf(m *control.Machine) string {
	switch {
	case m.Leaving != nil:
		return "deleting"
	case m.SeenAt.IsZero():
		return "ordered"
	case m.Unproven && m.Status == market.StatusRunning:
		return "running, unproven"
	case m.Drain != nil:
		return "draining"
	case m.Parked == nil:
	case m.Parked.Start != 0:
		return "starting again"
	case m.Parked.Done:
		return "parked, " + string(m.Status)
	default:
		return "parking"
	}
	return string(m.Status)
}

// portsText prints external ports and what they lead to: "30118>22 30117>80".
func portsText(ports []market.PortForward) string {
	parts := make([]string, len(ports))
	for i, p := range ports {
		parts[i] = fmt.Sprintf("%d>%d", p.External, p.Internal)
	}
	return strings.Join(parts, " ")
}

// sshWord is what may stand in a configuration of ssh: the market's words must
// not become options.
var sshWord = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:~-]*$`)

func writeSSHConfig(w io.Writer, all []control.Machine) error {
	for i := range all {
		if _, err := io.WriteString(w, sshBlock(&all[i])); err != nil {
			return err
		}
	}
	return nil
}

func sshBlock(m *control.Machine) string {
	user, port := m.User, sshPort(m)
	if user == "" {
		user = "user"
	}
	if !sshWord.MatchString(m.Name) || !sshWord.MatchString(m.IP) || !sshWord.MatchString(user) || port == 0 {
		return "# " + clean(m.Name) + ": no address with a way to port 22 (yet)\n\n"
	}
	b := fmt.Sprintf("Host %s\n  HostName %s\n  Port %d\n  User %s\n", m.Name, m.IP, port, user)
	if m.PasswordFile != "" {
		b += "  # password: " + clean(m.PasswordFile) + "\n"
	}
	return b + "\n"
}

// sshPort is the port that leads to 22: a forwarded one, or 22 itself where
// nothing is forwarded because the machine has an address of its own.
func sshPort(m *control.Machine) int {
	for _, p := range m.Ports {
		if p.Internal == 22 {
			return p.External
		}
	}
	if len(m.Ports) == 0 && m.API == market.V2 {
		return 22
	}
	return 0
}
