package hostgo

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
)

const token = "ya29.a-token-that-nobody-may-see"

// TestSecretsAreAbsentFromAllLogs logs at the most talkative level, ours and every library's, while a
// data source with a service account's key is used well and badly.
func TestSecretsAreAbsentFromAllLogs(t *testing.T) {
	h := launch(t, "WEIR_LOG=trace,weir=trace", "RUST_LOG=trace")
	key := privateKey(t)
	var logins atomic.Int32
	tokens := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, _ *http.Request) {
		logins.Add(1)
		writer.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(writer).Encode(map[string]any{
			"access_token": token, "token_type": "Bearer", "expires_in": 3600,
		})
	}))
	t.Cleanup(tokens.Close)
	s := standIn(t, newBigQuery(t).url).
		with("authenticationType", "jwt").
		with("clientEmail", "grafana@example.iam.gserviceaccount.com").
		with("tokenUri", tokens.URL)
	s.secure = map[string]string{"privateKey": key, "unknown": "another-secret-value"}
	query := panel{refID: "A", sql: "SELECT 1 AS n", format: 1}

	if health := h.health(t, s); health.Status != pluginv2.CheckHealthResponse_OK {
		t.Errorf("the login with a key fails: %s", health.Message)
	}
	h.query(t, s.request(t, map[string]string{"Authorization": "Bearer forwarded-secret", "Cookie": "cookie-secret"}, query))
	h.call(t, s, "POST", "query", []byte(`{"sql": "SELECT 1 AS n"}`))
	escaped := s
	escaped.uid, escaped.secure = "escaped", map[string]string{"privateKey": strings.ReplaceAll(key, "\n", `\n`)}
	h.health(t, escaped)
	truncated := s
	truncated.uid, truncated.secure = "truncated", map[string]string{"privateKey": key[:len(key)/2]}
	h.health(t, truncated)
	h.query(t, truncated.request(t, nil, query))
	incomplete := s.with("tokenUri", nil)
	incomplete.uid = "incomplete"
	health := h.health(t, incomplete)
	if !strings.Contains(health.Message, "tokenUri") {
		t.Errorf("health without a token URI: %s", health.Message)
	}

	if logins.Load() == 0 {
		t.Error("nobody logged in")
	}
	h.client.Kill()
	log := h.stderr.String()
	if !strings.Contains(log, `"@level":"TRACE"`) {
		t.Errorf("the log is not at trace level:\n%.2000s", log)
	}
	secrets := []string{"another-secret-value", "forwarded-secret", "cookie-secret", token}
	for line := range strings.Lines(key) {
		if line = strings.TrimSpace(line); len(line) > 16 && !strings.HasPrefix(line, "-----") {
			secrets = append(secrets, line)
		}
	}
	for _, secret := range secrets {
		if at := strings.Index(log, secret); at >= 0 {
			begin := strings.LastIndex(log[:at], "\n") + 1
			t.Fatalf("a secret (%.12s…) is in the log, in a line that begins: %.300s", secret, log[begin:])
		}
	}
}

func privateKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}
