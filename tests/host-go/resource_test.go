package hostgo

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

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

	s.role = "Editor"
	code, answer = h.call(t, s, "POST", "purge", nil)
	if code != 200 || object(t, answer)["generation"] != 1.0 {
		t.Errorf("purge: %d: %s", code, answer)
	}
	h.call(t, s, "POST", "query", body)
	if jobs := len(bq.seenJobs()); jobs != 2 {
		t.Errorf("%d jobs, one before and one after the purge expected", jobs)
	}
}

func TestAPurgeTakesARole(t *testing.T) {
	h := launch(t)
	bq := newBigQuery(t)
	s := standIn(t, bq.url)
	body := []byte(`{"sql": "SELECT 1 AS n"}`)
	h.call(t, s, "POST", "query", body)
	for _, user := range []struct {
		role, text string
		code       int32
	}{
		{"Viewer", "Viewer", 403}, {"", "None", 403}, {"None", "None", 403}, {"Editor", "", 200}, {"Admin", "", 200},
	} {
		s.role = user.role
		code, answer := h.call(t, s, "POST", "purge", nil)
		message, _ := object(t, answer)["message"].(string)
		if code != user.code || !strings.HasSuffix(message, user.text) {
			t.Errorf("%q: %d: %s", user.role, code, answer)
		}
		if code == 403 {
			h.call(t, s, "POST", "query", body)
			if jobs := len(bq.seenJobs()); jobs != 1 {
				t.Errorf("%q: a refused purge left answers behind: %d jobs", user.role, jobs)
			}
		}
	}
}

const enrollment = "experiment_enrollment_overall"

// The requests are those of the official data source's src/api.ts.
func TestTheOfficialEditorFindsItsRoutes(t *testing.T) {
	h := launch(t)
	bq := newBigQuery(t)
	s := standIn(t, bq.url)
	ask := func(method, path string, arguments map[string]any, answer any) {
		t.Helper()
		body, err := json.Marshal(arguments)
		if err != nil {
			t.Fatal(err)
		}
		code, reply := h.call(t, s, method, path, body)
		if code != 200 {
			t.Fatalf("%s %s: %d: %s", method, path, code, reply)
		}
		if err := json.Unmarshal(reply, answer); err != nil {
			t.Fatalf("%s: %v: %s", path, err, reply)
		}
	}
	in := func(list []string, names ...string) {
		t.Helper()
		for _, name := range names {
			if !slices.Contains(list, name) {
				t.Errorf("no %s in %v", name, list)
			}
		}
	}

	var defaultProject string
	ask("POST", "defaultProjects", map[string]any{}, &defaultProject)
	if defaultProject != project() {
		t.Errorf("default project %s", defaultProject)
	}
	var projects []struct{ ProjectID, DisplayName string }
	ask("POST", "projects", map[string]any{"datasourceUid": s.uid}, &projects)
	if len(projects) < 2 || projects[0].ProjectID == "" || projects[0].DisplayName == "" {
		t.Errorf("projects: %v", projects)
	}
	var datasets, tables, columns, orderable []string
	ask("POST", "datasets", map[string]any{"project": project(), "location": "US"}, &datasets)
	in(datasets, "telemetry")
	place := map[string]any{"project": project(), "location": "", "dataset": "telemetry"}
	for range 3 {
		ask("POST", "tables", place, &tables)
		in(tables, enrollment)
	}
	if asked := bq.seenGets("/datasets/telemetry/tables"); asked != 1 {
		t.Errorf("BigQuery was asked for the tables %d times", asked)
	}
	place["table"], place["isOrderable"] = enrollment, "false"
	ask("POST", "columns", place, &columns)
	in(columns, "time", "branch", "value")
	place["isOrderable"] = "true"
	ask("POST", "columns", place, &orderable)
	in(orderable, "time", "branch")
	var description struct {
		Schema []struct {
			Name, Type string
			Repeated   bool
		}
	}
	ask("POST", "dataset/table/schema", place, &description)
	if len(description.Schema) != len(columns) || description.Schema[0].Type != "TIMESTAMP" {
		t.Errorf("schema: %v", description)
	}

	code, reply := h.call(t, s, "GET", "tables?dataset=telemetry", nil)
	if err := json.Unmarshal(reply, &tables); err != nil || code != 200 {
		t.Errorf("GET tables: %d: %s", code, reply)
	}
	in(tables, enrollment)
	code, reply = h.call(t, s, "POST", "tables", []byte(`{"dataset": "nowhere"}`))
	if problem := object(t, reply); code != 404 || !strings.Contains(problem["message"].(string), "nowhere") {
		t.Errorf("tables of a dataset that is not there: %d: %s", code, reply)
	}
}

func TestTheEditorIsToldWhatAQueryCostsOrWhereItIsWrong(t *testing.T) {
	h := launch(t)
	bq := newBigQuery(t)
	s := standIn(t, bq.url).with("pricePerTiB", "1048576 EUR")
	to := time.Now().UTC()
	validate := func(sql string) map[string]any {
		t.Helper()
		body, err := json.Marshal(map[string]any{
			"project": project(), "location": "",
			"query": map[string]any{"rawSql": sql, "format": 0, "refId": "A"},
			"range": map[string]any{"from": to.Add(-day).Format(time.RFC3339), "to": to.Format(time.RFC3339)},
		})
		if err != nil {
			t.Fatal(err)
		}
		code, answer := h.call(t, s, "POST", "validateQuery", body)
		if code != 200 {
			t.Fatalf("%d: %s", code, answer)
		}
		return object(t, answer)
	}

	good := validate("SELECT time, value FROM `" + project() + ".telemetry." + enrollment + "` WHERE $__timeFilter(time)")
	statistics, _ := good["statistics"].(map[string]any)
	if good["isValid"] != true || good["isError"] != false || statistics["TotalBytesProcessed"] == nil {
		t.Errorf("%v", good)
	}
	if sql := good["query"].(string); !strings.Contains(sql, "time >= TIMESTAMP '"+to.Add(-day).Format("2006-01")) {
		t.Errorf("not expanded: %s", sql)
	}
	// A euro for each MiB.
	billed, price := good["bytesBilled"].(float64), good["price"].(map[string]any)
	if billed < 10<<20 || price["currency"] != "EUR" || price["amount"] != billed/(1<<20) {
		t.Errorf("%v bytes cost %v", billed, price)
	}

	bad := validate("SELECT 1\nFORM nowhere")
	position, _ := bad["position"].(map[string]any)
	if bad["isValid"] != false || bad["isError"] != true || bad["statistics"] != nil || position["line"] != 2.0 {
		t.Errorf("%v", bad)
	}
	if missing := validate("SELECT 1 FROM `" + project() + ".telemetry.nowhere`"); !strings.Contains(missing["error"].(string), "nowhere") {
		t.Errorf("%v", missing)
	}
	if len(bq.seenJobs()) != 0 {
		t.Error("validating ran a job")
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
		{"GET", "nothing", "", 404, "query, explain, purge, ledger, defaultProjects"},
		{"PUT", "tables", "", 405, "POST or GET"},
		{"POST", "tables", "{}", 400, "dataset"},
		{"POST", "validateQuery", "{}", 400, "query"},
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
