package hostgo

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend/grpcplugin"
	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
)

// Long enough for a busy machine, short enough to end.
const patience = 60 * time.Second

// The handshake and plugins of Grafana's pkg/plugins/backendplugin/grpcplugin/client.go.
var handshake = goplugin.HandshakeConfig{
	ProtocolVersion:  grpcplugin.ProtocolVersion,
	MagicCookieKey:   grpcplugin.MagicCookieKey,
	MagicCookieValue: grpcplugin.MagicCookieValue,
}

var plugins = map[int]goplugin.PluginSet{
	grpcplugin.ProtocolVersion: {
		"diagnostics": &grpcplugin.DiagnosticsGRPCPlugin{},
		"resource":    &grpcplugin.ResourceGRPCPlugin{},
		"data":        &grpcplugin.DataGRPCPlugin{},
		"stream":      &grpcplugin.StreamGRPCPlugin{},
	},
}

// required reads an environment variable that the tests cannot do without.
func required(t *testing.T, name, what string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set; give %s", name, what)
	}
	return value
}

func binary(t *testing.T) string {
	t.Helper()
	path := required(t, "WEIR_BIN", "the path of the weir binary (cargo build --bin weir)")
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("WEIR_BIN: %v", err)
	}
	return path
}

// host is a running plugin, seen from Grafana.
type host struct {
	client      *goplugin.Client
	data        grpcplugin.DataClient
	diagnostics grpcplugin.DiagnosticsClient
	resource    grpcplugin.ResourceClient
	stderr      *transcript
	// headers go with health checks and resource requests.
	headers map[string]string
}

func newClient(path string, stderr io.Writer, env ...string) *goplugin.Client {
	cmd := exec.Command(path)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	return goplugin.NewClient(&goplugin.ClientConfig{
		Cmd:              cmd,
		HandshakeConfig:  handshake,
		VersionedPlugins: plugins,
		SkipHostEnv:      true,
		Logger:           hclog.NewNullLogger(),
		Stderr:           stderr,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
	})
}

// launch starts the plugin and ends it with the test.
func launch(t *testing.T, env ...string) *host {
	t.Helper()
	h := &host{stderr: &transcript{}}
	h.client = newClient(binary(t), h.stderr, env...)
	t.Cleanup(func() {
		h.client.Kill()
		if t.Failed() {
			t.Logf("the end of the plugin's stderr:\n%s", tail(h.stderr.String(), 8000))
		}
	})
	protocol, err := h.client.Client()
	if err != nil {
		t.Fatalf("the plugin does not start: %v\n%s", err, h.stderr.String())
	}
	if err := protocol.Ping(); err != nil {
		t.Fatalf("the plugin is not healthy: %v", err)
	}
	h.data = dispense[grpcplugin.DataClient](t, protocol, "data")
	h.diagnostics = dispense[grpcplugin.DiagnosticsClient](t, protocol, "diagnostics")
	h.resource = dispense[grpcplugin.ResourceClient](t, protocol, "resource")
	return h
}

func dispense[T any](t *testing.T, protocol goplugin.ClientProtocol, name string) T {
	t.Helper()
	raw, err := protocol.Dispense(name)
	if err != nil {
		t.Fatalf("dispense %s: %v", name, err)
	}
	client, ok := raw.(T)
	if !ok {
		t.Fatalf("dispense %s: got %T", name, raw)
	}
	return client
}

func (h *host) query(t *testing.T, request *pluginv2.QueryDataRequest) map[string]*pluginv2.DataResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	response, err := h.data.QueryData(ctx, request)
	if err != nil {
		t.Fatalf("QueryData: %v", err)
	}
	return response.Responses
}

func (h *host) health(t *testing.T, source source) *pluginv2.CheckHealthResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	response, err := h.diagnostics.CheckHealth(ctx, &pluginv2.CheckHealthRequest{
		PluginContext: source.context(t), Headers: h.headers,
	})
	if err != nil {
		t.Fatalf("CheckHealth: %v", err)
	}
	return response
}

// call sends a resource request to a path, perhaps with a query string, and returns status and body.
func (h *host) call(t *testing.T, source source, method, url string, body []byte) (int32, []byte) {
	t.Helper()
	code, answer, err := h.tryCall(t, source, method, url, body)
	if err != nil {
		t.Fatalf("CallResource %s: %v", url, err)
	}
	return code, answer
}

func (h *host) tryCall(t *testing.T, source source, method, url string, body []byte) (int32, []byte, error) {
	t.Helper()
	path, _, _ := strings.Cut(url, "?")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	headers := map[string]*pluginv2.StringList{}
	for name, value := range h.headers {
		headers[name] = &pluginv2.StringList{Values: []string{value}}
	}
	stream, err := h.resource.CallResource(ctx, &pluginv2.CallResourceRequest{
		PluginContext: source.context(t), Method: method, Path: path, Url: url, Body: body, Headers: headers,
	})
	if err != nil {
		return 0, nil, err
	}
	var code int32
	var answer bytes.Buffer
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return code, answer.Bytes(), nil
		}
		if err != nil {
			return 0, nil, err
		}
		if part.Code != 0 {
			code = part.Code
		}
		answer.Write(part.Body)
	}
}

// transcript collects what a process writes.
type transcript struct {
	mutex sync.Mutex
	bytes bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.bytes.Write(p)
}

func (t *transcript) String() string {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.bytes.String()
}

// tail is the last bytes of a text.
func tail(text string, bytes int) string {
	return text[max(0, len(text)-bytes):]
}

// eventually waits until test holds.
func eventually(t *testing.T, what string, test func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !test() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
