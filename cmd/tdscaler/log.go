package main

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"go.uber.org/zap"
	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// newLogger logs to stderr, as JSON or for people. Under journald, which stamps every
// line itself, lines carry no time of their own, and journald is told how grave they are.
func newLogger(d policy.Daemon, w io.Writer) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(d.LogLevel)
	if err != nil {
		return nil, fmt.Errorf("daemon.log_level: %w", err)
	}
	c := zap.NewProductionEncoderConfig()
	c.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	c.EncodeDuration = zapcore.StringDurationEncoder
	c.TimeKey = "time"
	journaled := toJournal(w, os.Getenv("JOURNAL_STREAM"))
	if journaled {
		c.TimeKey = ""
	}
	enc := zapcore.NewJSONEncoder(c)
	if d.LogFormat == "console" {
		c.EncodeLevel = zapcore.CapitalLevelEncoder
		enc = zapcore.NewConsoleEncoder(c)
	}
	if journaled {
		enc = &journal{Encoder: enc, pool: buffer.NewPool()}
	}
	return zap.New(zapcore.NewCore(enc, zapcore.Lock(zapcore.AddSync(w)), level)), nil
}

// toJournal says whether w is the stream that JOURNAL_STREAM names: a terminal inherits
// the variable too.
func toJournal(w io.Writer, stream string) bool {
	f, ok := w.(*os.File)
	if !ok || stream == "" {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && stream == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// journal begins each line with its priority, which journald takes off again.
type journal struct {
	zapcore.Encoder
	pool buffer.Pool
}

// Clone implements zapcore.Encoder.
func (j *journal) Clone() zapcore.Encoder { return &journal{j.Encoder.Clone(), j.pool} }

// EncodeEntry implements zapcore.Encoder.
func (j *journal) EncodeEntry(e zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	line, err := j.Encoder.EncodeEntry(e, fields)
	if err != nil {
		return nil, err
	}
	defer line.Free()
	out := j.pool.Get()
	out.AppendString(fmt.Sprintf("<%d>", priority(e.Level)))
	_, err = out.Write(line.Bytes())
	return out, err
}

// priority is syslog's number for a level.
func priority(l zapcore.Level) int {
	switch {
	case l <= zapcore.DebugLevel:
		return 7
	case l == zapcore.InfoLevel:
		return 6
	case l == zapcore.WarnLevel:
		return 4
	case l == zapcore.ErrorLevel:
		return 3
	}
	return 2
}
