package hostgo

import (
	"context"
	"strconv"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
)

func metrics(t *testing.T, h *host) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	response, err := h.diagnostics.CollectMetrics(ctx, &pluginv2.CollectMetricsRequest{})
	if err != nil {
		t.Fatalf("CollectMetrics: %v", err)
	}
	return string(response.Metrics.Prometheus)
}

// metric is the value of one line of the metrics, zero where there is none.
func metric(t *testing.T, h *host, name string) float64 {
	t.Helper()
	for line := range strings.Lines(metrics(t, h)) {
		if rest, found := strings.CutPrefix(line, name+" "); found {
			value, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return value
		}
	}
	return 0
}

func TestAWorkingSourceIsHealthy(t *testing.T) {
	h := launch(t)
	health := h.health(t, standIn(t, newBigQuery(t).url))
	if health.Status != pluginv2.CheckHealthResponse_OK || health.Message != "Data source is working" {
		t.Errorf("%s: %s", health.Status, health.Message)
	}
}

func TestABrokenSourceSaysWhatToMend(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	for _, broken := range []struct {
		source   source
		expected string
	}{
		{s.with("defaultProject", nil), "jsonData.defaultProject"},
		{s.with("authenticationType", "jwt"), "privateKey"},
		{s.with("authenticationType", "password"), "password"},
		{s.with("MaxBytesBilled", "a lot"), "jsonData.MaxBytesBilled"},
		{s.with("serviceEndpoint", nil), "jsonData.serviceEndpoint"},
		{s.with("serviceEndpoint", "http://127.0.0.1:1"), ""},
	} {
		health := h.health(t, broken.source)
		if health.Status != pluginv2.CheckHealthResponse_ERROR || !strings.Contains(health.Message, broken.expected) {
			t.Errorf("%v: %s: %s", broken.source.json, health.Status, health.Message)
		}
	}
}

func TestMetricsAreThoseOfTheProcess(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	one(t, h.query(t, s.request(t, nil, panel{refID: "A", sql: busiest, format: 1}))["A"])
	for _, name := range []string{"weir_jobs_total", "weir_bytes_billed_total", "weir_requests_total", "weir_cache_bytes"} {
		if !strings.Contains(metrics(t, h), "\n"+name) {
			t.Errorf("no metric %s", name)
		}
	}
	if bytes := metric(t, h, "weir_bytes_billed_total"); bytes <= 0 {
		t.Errorf("%v bytes billed", bytes)
	}
}
