package main

import (
	"fmt"
	"io"
	"os"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// newLogger logs to stderr, as JSON or for people. Under journald, which stamps
// every line itself, lines carry no time of their own.
func newLogger(d policy.Daemon, w io.Writer) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(d.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("daemon.log_level: %w", err)
	}
	c := zap.NewProductionEncoderConfig()
	c.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	c.EncodeDuration = zapcore.StringDurationEncoder
	c.TimeKey = "time"
	if os.Getenv("JOURNAL_STREAM") != "" {
		c.TimeKey = ""
	}
	enc := zapcore.NewJSONEncoder(c)
	if d.LogFormat == "console" {
		c.EncodeLevel = zapcore.CapitalLevelEncoder
		enc = zapcore.NewConsoleEncoder(c)
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(w)), level)), nil
}
