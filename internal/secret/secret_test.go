package secret

import (
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"gopkg.in/yaml.v3"
)

const value = "s3cr3t-t0ken"

type holder struct {
	Token  String
	Nested struct{ Password *String }
	List   []String
	Map    map[string]String
	hidden String // fmt cannot call the methods of what is not exported
}

func newHolder() holder {
	s := New(value)
	h := holder{Token: s, List: []String{s}, hidden: s, Map: map[string]String{"k": s}}
	h.Nested.Password = &s
	return h
}

func clean(t *testing.T, how, text string) {
	t.Helper()
	for _, leak := range []string{value, fmt.Sprintf("%x", value), fmt.Sprintf("%X", value), fmt.Sprintf("%q", []byte(value)), fmt.Sprint([]byte(value))} {
		if strings.Contains(text, strings.Trim(leak, `"`)) {
			t.Errorf("%s shows the secret: %s", how, text)
		}
	}
}

func TestNoVerbPrintsASecret(t *testing.T) {
	h := newHolder()
	for _, verb := range strings.Split("v +v #v s q x X d c U b o t e g T p", " ") {
		for _, v := range []any{h.Token, &h.Token, h, &h, h.List, h.Map} {
			clean(t, "%"+verb, fmt.Sprintf("%"+verb, v))
		}
		if !strings.Contains("T p", verb) {
			if got := fmt.Sprintf("%"+verb, h.Token); got != Redacted {
				t.Errorf("%%%s prints %s", verb, got)
			}
		}
	}
	clean(t, "errors", fmt.Errorf("login %v: %w", h.Token, errors.New(h.Token.String())).Error())
}

func TestNoEncodingHoldsASecret(t *testing.T) {
	h := newHolder()
	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	x, err := xml.Marshal(h.Token)
	if err != nil {
		t.Fatal(err)
	}
	for how, b := range map[string][]byte{"json": j, "yaml": y, "xml": x} {
		clean(t, how, string(b))
		if !strings.Contains(string(b), "redacted") {
			t.Errorf("%s does not say that something was left out: %s", how, b)
		}
	}
}

func TestNoLogHoldsASecret(t *testing.T) {
	h := newHolder()
	core, logs := observer.New(zapcore.DebugLevel)
	var text strings.Builder
	enc := zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig())
	tee := zapcore.NewTee(core, zapcore.NewCore(enc, zapcore.AddSync(&text), zapcore.DebugLevel),
		zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(&text), zapcore.DebugLevel))
	log := zap.New(tee)
	log.Info("all", zap.Any("any", h.Token), zap.Any("ptr", &h.Token), zap.Any("holder", h), zap.Stringer("stringer", h.Token), zap.Reflect("reflect", h))
	log.Sugar().Infof("%v %+v %#v", h.Token, h, h)
	log.Sugar().Infow("kv", "token", h.Token, "holder", &h)
	slog.New(slog.NewJSONHandler(&text, nil)).Info("slog", "token", h.Token, "holder", h)
	slog.New(slog.NewTextHandler(&text, nil)).Info("slog", "token", h.Token, "holder", h)
	clean(t, "log", text.String())
	for _, e := range logs.All() {
		clean(t, "observer", fmt.Sprint(e.Message, e.ContextMap()))
	}
	if n := strings.Count(text.String(), Redacted); n < 10 {
		t.Errorf("only %d redactions in %s", n, text.String())
	}
}

func TestASecretLeavesOnlyThroughReveal(t *testing.T) {
	if New(value).Reveal() != value || New(value).IsEmpty() || !(String{}).IsEmpty() {
		t.Error("the secret is lost")
	}
}

func TestTheSignatureIsTheDocumentedOne(t *testing.T) {
	// printf '1700000000.{}' | openssl dgst -sha256 -hmac s3cret
	if got := hex.EncodeToString(New("s3cret").Sign("1700000000", []byte("{}"))); got != "97926816e98fbb41ccb1673225ff29a2f35369099990e1b1561651e7bd097ebf" {
		t.Error(got)
	}
}

func TestAShortKeyIsNone(t *testing.T) {
	if _, err := Key("fifteen bytes!!\n"); err == nil {
		t.Error("fifteen bytes are taken")
	}
	const key = "0123456789abcdef"
	if s, err := Key(key + "\n"); err != nil || s.Reveal() != key || strings.Contains(fmt.Sprint(s), key) {
		t.Errorf("%v, %v", s, err)
	}
}
