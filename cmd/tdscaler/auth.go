package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/tensordock"
)

func authCommand() *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "auth --config FILE",
		Short: "Check the credentials with both of TensorDock's APIs, and say what each is for",
		Long: `auth asks both APIs whether they take the credentials, lists the authorizations of
the account with their permissions, and says what to do about what does not work.
It asks, and changes nothing; no secret is printed. 0 when all works, 1 when
something does not, 2 when credentials are not configured.

When to use it: first with a new account, and when writes are refused.`,
		Example: "  tdscaler auth --config policies.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := configOf(cmd, path)
			if err != nil {
				return err
			}
			cfg, err := readConfig(found.path, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := cfg.LoadCredentials(os.Getenv); err != nil {
				return &codedError{exitUsage, err}
			}
			return checkAuth(cmd, &cfg, asJSON)
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// authCheck is one question about the credentials, and what became of it.
type authCheck struct {
	Name       string `json:"check"`
	API        string `json:"api"`
	Credential string `json:"credential"`
	Purpose    string `json:"for"`
	OK         bool   `json:"ok"`
	// Needed: tdscaler cannot do its work without it.
	Needed  bool         `json:"needed"`
	Class   market.Class `json:"class,omitempty"`
	Problem string       `json:"problem,omitempty"`
	Advice  string       `json:"advice,omitempty"`
}

// authorization is one pair of credentials of the account, without its secret.
type authorization struct {
	Name        string    `json:"name"`
	Permissions []string  `json:"permissions"`
	Note        string    `json:"note,omitempty"`
	Created     time.Time `json:"created,omitzero"`
}

// authResult is what auth prints.
type authResult struct {
	OK             bool            `json:"ok"`
	Checks         []authCheck     `json:"checks"`
	Authorizations []authorization `json:"authorizations"`
}

func checkAuth(cmd *cobra.Command, cfg *daemon.Config, asJSON bool) error {
	r, err := tensordock.NewReader(clientOptions(cfg, clock.System{}, nil))
	if err != nil {
		return &codedError{exitUsage, err}
	}
	res := askAuth(cmd.Context(), r, cfg.Key, cfg.Token)
	s := &session{Command: cmd, cfg: *cfg, json: asJSON}
	if err := s.printed(res, func(t *table) { t.auth(&res) }); err != nil {
		return err
	}
	if !res.OK {
		return &codedError{code: exitFailure}
	}
	return nil
}

func askAuth(ctx context.Context, r *tensordock.Reader, key, token secret.String) authResult {
	const pair, bearer = "API key and token", "API token alone"
	out := authResult{OK: true, Authorizations: []authorization{}}
	out.add(ctx, authCheck{
		Name: "test", API: "v0", Credential: pair, Needed: true,
		Purpose: "the marketplace: spot machines, bids, the list of machines, deletions, balance and bills",
	}, r.AuthTest(ctx))
	all, err := r.AuthList(ctx)
	out.add(ctx, authCheck{Name: "list", API: "v0", Credential: pair, Purpose: "this list of authorizations; nothing else needs it"}, err)
	for _, a := range all {
		out.Authorizations = append(out.Authorizations, authorization{
			Name: without(a.Name, key, token), Permissions: hideAll(a.Permissions, key, token), Note: without(a.Note, key, token), Created: a.Created,
		})
	}
	_, err = r.InstancesV2(ctx)
	out.add(ctx, authCheck{
		Name: "instances", API: "v2", Credential: bearer, Needed: true,
		Purpose: "the instances API: on-demand machines, and a second look for orders whose answer was lost",
	}, err)
	return out
}

func (r *authResult) add(ctx context.Context, c authCheck, err error) {
	if c.OK = err == nil; err != nil {
		c.Class, c.Problem = market.ClassOf(err), err.Error()
		c.Advice = authAdvice(&c)
		if ctx.Err() != nil {
			c.Problem, c.Advice = "interrupted", ""
		}
	}
	r.OK = r.OK && (c.OK || !c.Needed)
	r.Checks = append(r.Checks, c)
}

// authAdvice is what to do about a check that failed.
func authAdvice(c *authCheck) string {
	switch {
	case !c.Needed:
		return "nothing: it may lack the permission to list others"
	case c.Class == market.ClassUnauthorized && c.API == "v0":
		return "make an authorization in TensorDock's dashboard, and set its id as TENSORDOCK_API_KEY and its token as TENSORDOCK_API_TOKEN, or the files under tensordock; nothing works until then"
	case c.Class == market.ClassUnauthorized:
		return "v2 takes the same token as a bearer: where v0 takes the pair, the authorization lacks the permission, or v2 wants a token of its own kind; spot goes on without it"
	case c.Class == market.ClassRateLimited:
		return "wait a minute and ask again"
	case c.Class == market.ClassShapeChanged:
		return "look at tensordock.marketplace_url and instances_url; if they are right, TensorDock answers in a form that this version does not know"
	case c.Class == market.ClassUnavailable:
		return "TensorDock could not be reached or did not answer: look at the network, tensordock.marketplace_url and instances_url, and ask again; this says nothing about the credentials"
	}
	return "read what it says; the daemon would get the same answer"
}

// without hides secrets in what the market says: an authorization may be named by its
// own id.
func without(text string, secrets ...secret.String) string {
	for _, s := range secrets {
		if v := s.Reveal(); v != "" {
			text = strings.ReplaceAll(text, v, "(the one in use)")
		}
	}
	return text
}

func hideAll(texts []string, secrets ...secret.String) []string {
	out := []string{}
	for _, t := range texts {
		out = append(out, without(t, secrets...))
	}
	return out
}

func (t *table) auth(r *authResult) {
	t.row("API", "CHECK", "CREDENTIAL", "RESULT", "FOR")
	for i := range r.Checks {
		c := &r.Checks[i]
		result := shade{good, "works"}
		if !c.OK {
			result = shade{bad, string(c.Class)}
		}
		t.row(c.API, c.Name, c.Credential, result, c.Purpose)
	}
	for i := range r.Checks {
		if c := &r.Checks[i]; !c.OK {
			t.gap()
			t.line("%s %s: %s", c.API, c.Name, c.Problem)
			t.line("  %s", c.Advice)
		}
	}
	if len(r.Authorizations) > 0 {
		t.gap()
		t.row("AUTHORIZATION", "CREATED", "PERMISSIONS", "NOTE")
	}
	for _, a := range r.Authorizations {
		t.row(a.Name, stamp(a.Created), strings.Join(a.Permissions, ", "), a.Note)
	}
}
