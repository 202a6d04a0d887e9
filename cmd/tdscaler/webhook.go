package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/webhook"
)

// maxCallers is how many connections the webhook has at once.
const maxCallers = 16

// openWebhook listens for signed requests that set targets. A secret that cannot be read
// now would refuse all of them: better not to start.
func openWebhook(c policy.Webhook, desk webhook.Desk, reg prometheus.Registerer, log *zap.Logger) (net.Listener, http.Handler, error) {
	key := func() (secret.String, error) { return readWebhookSecret(c.SecretFile) }
	if _, err := key(); err != nil {
		return nil, nil, fmt.Errorf("daemon.webhook.secret_file: %w", err)
	}
	ln, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("daemon.webhook.listen: %w", err)
	}
	requests := webhookMetrics(reg)
	log.Info("webhook listening", zap.String("addr", ln.Addr().String()))
	h := webhook.Handler(webhook.Options{Desk: desk, Clock: clock.System{}, Secret: key, Done: func(result, detail string) {
		requests.WithLabelValues(result).Inc()
		if result == "ok" {
			log.Info("webhook", zap.String("did", detail))
		}
	}})
	return atMost(ln, maxCallers), h, nil
}

// webhookMetrics counts requests to the webhook.
func webhookMetrics(reg prometheus.Registerer) *prometheus.CounterVec {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tdscaler", Name: "demand_webhook_requests_total",
		Help: "Requests to the webhook, by result: ok, unauthorized, replayed, refused, failed.",
	}, []string{"result"})
	reg.MustRegister(requests)
	for _, r := range []string{"ok", "unauthorized", "replayed", "refused", "failed"} {
		requests.WithLabelValues(r)
	}
	return requests
}

// maxSecret is how many bytes the secret's file may have.
const maxSecret = 4 << 10

func readWebhookSecret(path string) (s secret.String, err error) {
	f, err := os.Open(path)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return s, err
	}
	return secret.Key(string(b))
}
