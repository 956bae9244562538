package hostgo

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func object(t *testing.T, body []byte) map[string]any {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return object
}

func TestResourcesQueryExplainAndPurge(t *testing.T) {
	h := launch(t)
	bq := newBigQuery(t)
	s := standIn(t, bq.url)
	body, err := json.Marshal(map[string]any{"sql": busiest, "from": "now-1d", "to": "now", "step": "15m"})
	if err != nil {
		t.Fatal(err)
	}

	code, answer := h.call(t, s, "POST", "explain", body)
	explained := object(t, answer)
	if code != 200 || explained["mode"] == nil || len(explained["segments"].([]any)) == 0 {
		t.Errorf("explain: %d: %s", code, answer)
	}
	if len(bq.seenJobs()) != 0 {
		t.Error("explain ran a job")
	}

	code, answer = h.call(t, s, "POST", "query", body)
	rows := object(t, answer)
	if code != 200 || len(rows["columns"].([]any)) != 3 || len(rows["rows"].([]any)) != 1 {
		t.Errorf("query: %d: %s", code, answer)
	}

	code, answer = h.call(t, s, "POST", "purge", nil)
	if code != 200 || object(t, answer)["generation"] != 1.0 {
		t.Errorf("purge: %d: %s", code, answer)
	}
	h.call(t, s, "POST", "query", body)
	if jobs := len(bq.seenJobs()); jobs != 2 {
		t.Errorf("%d jobs, one before and one after the purge expected", jobs)
	}
}

func TestResourcesTakeGrafanasOwnBody(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	body := `{"queries": [{"refId": "A", "rawSql": "SELECT 1 AS n"}, {"refId": "B", "rawSql": "SELEC"}], "from": "now-6h", "to": "now"}`
	code, answer := h.call(t, s, "POST", "/query", []byte(body))
	results := object(t, answer)["results"].(map[string]any)
	if code != 200 || len(results) != 2 {
		t.Fatalf("%d: %s", code, answer)
	}
	if rows := results["A"].(map[string]any)["rows"]; rows == nil {
		t.Errorf("A: %v", results["A"])
	}
	if problem := results["B"].(map[string]any); problem["code"] != 400.0 || problem["message"] == "" {
		t.Errorf("B: %v", problem)
	}
}

func TestResourceErrorsHaveAForm(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	for _, bad := range []struct {
		method, path, body string
		code               int32
		text               string
	}{
		{"GET", "tables", "", 404, "query, explain, purge"},
		{"GET", "query", "", 405, "POST"},
		{"POST", "query", "{", 400, "JSON"},
		{"POST", "query", "{}", 400, "rawSql"},
		{"POST", "query", `{"sql": "SELECT 1", "from": "soon", "to": "now"}`, 400, "soon"},
		{"POST", "explain", "{\"sql\": \"SELECT * FROM `moz-fx-data-shared-prod.telemetry.nowhere`\"}", 404, "nowhere"},
	} {
		code, answer := h.call(t, s, bad.method, bad.path, []byte(bad.body))
		problem := object(t, answer)
		message, _ := problem["message"].(string)
		if code != bad.code || problem["code"] != float64(bad.code) || !strings.Contains(message, bad.text) {
			t.Errorf("%s %s %s: %d: %s", bad.method, bad.path, bad.body, code, answer)
		}
		if problem["error"] == nil {
			t.Errorf("no error in %s", answer)
		}
	}
}

func TestAHugeBodyIsRefusedAndTheProcessLives(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	_, _, err := h.tryCall(t, s, "POST", "query", bytes.Repeat([]byte(" "), 100<<20))
	if code := status.Code(err); code != codes.OutOfRange && code != codes.ResourceExhausted {
		t.Errorf("100 MB: %v", err)
	}
	if code, answer := h.call(t, s, "POST", "query", []byte(`{"sql": "SELECT 1 AS n"}`)); code != 200 {
		t.Errorf("afterwards: %d: %s", code, answer)
	}
}
