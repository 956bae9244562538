package hostgo

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const overall = "`moz-fx-data-shared-prod.telemetry.experiment_enrollment_overall`"

// busiest asks for the experiment with the most enrollments of the last day.
const busiest = "SELECT experiment, COUNT(DISTINCT branch) AS branches, SUM(value) AS enrollments FROM " + overall +
	" WHERE branch IS NOT NULL AND $__timeFilter(time) GROUP BY 1 ORDER BY 3 DESC LIMIT 1"

// byBranch is the common panel of the boards (experimenter contract, section 6).
func byBranch(experiment string) string {
	return "SELECT $__timeGroup(time,$__interval) AS time, branch, SUM(value) AS value FROM " + overall +
		" WHERE experiment='" + experiment + "' AND branch IS NOT NULL AND $__timeFilter(time)" +
		" GROUP BY 1,2 ORDER BY 1"
}

// decoded reads the frames of a response as Grafana does, and fails the test on an error in it.
func decoded(t *testing.T, response *pluginv2.DataResponse) []*data.Frame {
	t.Helper()
	if response == nil {
		t.Fatal("no response")
	}
	if response.Error != "" || response.Status != 200 {
		t.Fatalf("status %d: %s", response.Status, response.Error)
	}
	var frames []*data.Frame
	for _, encoded := range response.Frames {
		frame, err := data.UnmarshalArrowFrame(encoded)
		if err != nil {
			t.Fatalf("UnmarshalArrowFrame: %v", err)
		}
		frames = append(frames, frame)
	}
	return frames
}

// one is the only frame of a response.
func one(t *testing.T, response *pluginv2.DataResponse) *data.Frame {
	t.Helper()
	frames := decoded(t, response)
	if len(frames) != 1 {
		t.Fatalf("%d frames", len(frames))
	}
	return frames[0]
}

// provenance is a frame's meta.custom.
func provenance(t *testing.T, frame *data.Frame) map[string]any {
	t.Helper()
	if frame.Meta == nil {
		t.Fatal("a frame without meta")
	}
	custom, ok := frame.Meta.Custom.(map[string]any)
	if !ok {
		t.Fatalf("meta.custom is %T", frame.Meta.Custom)
	}
	return custom
}

func billed(t *testing.T, frame *data.Frame) float64 {
	t.Helper()
	bytes, ok := provenance(t, frame)["bytes_billed"].(float64)
	if !ok {
		t.Fatalf("no bytes_billed in %v", frame.Meta.Custom)
	}
	return bytes
}

// experiment finds an experiment to look at.
func experiment(t *testing.T, h *host, s source) string {
	t.Helper()
	frame := one(t, h.query(t, s.request(t, nil, panel{refID: "A", sql: busiest, format: 1}))["A"])
	if frame.Rows() != 1 {
		t.Fatalf("the demonstration data have no enrollments in the last day: %d rows", frame.Rows())
	}
	name, ok := frame.Fields[0].ConcreteAt(0)
	if !ok {
		t.Fatal("the busiest experiment has no name")
	}
	return name.(string)
}

func TestATimeSeriesIsOneWideFrameWithLabels(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	sql := byBranch(experiment(t, h, s))
	frame := one(t, h.query(t, s.request(t, nil, panel{refID: "Q", sql: sql, format: 0}))["Q"])
	if frame.RefID != "Q" {
		t.Errorf("refId %q", frame.RefID)
	}
	if kind := frame.TimeSeriesSchema().Type; kind != data.TimeSeriesTypeWide {
		t.Fatalf("the frame is %s", kind)
	}
	if frame.Meta.Type != data.FrameTypeTimeSeriesWide {
		t.Errorf("meta.type is %q", frame.Meta.Type)
	}
	if frame.Rows() < 2 || len(frame.Fields) < 2 {
		t.Fatalf("%d rows, %d fields", frame.Rows(), len(frame.Fields))
	}
	var before time.Time
	for row := range frame.Rows() {
		at, ok := frame.Fields[0].ConcreteAt(row)
		if !ok {
			t.Fatalf("row %d has no time", row)
		}
		now := at.(time.Time)
		if !now.After(before) || time.Since(now) > 2*day || now.Unix()%900 != 0 {
			t.Fatalf("time %s after %s", now, before)
		}
		before = now
	}
	seen := map[string]bool{}
	for _, field := range frame.Fields[1:] {
		branch := field.Labels["branch"]
		if field.Name != "value" || branch == "" || len(field.Labels) != 1 || seen[branch] {
			t.Errorf("field %q with labels %v", field.Name, field.Labels)
		}
		if field.Type() != data.FieldTypeNullableInt64 {
			t.Errorf("field %q of type %s", branch, field.Type())
		}
		seen[branch] = true
	}
	if !strings.Contains(frame.Meta.ExecutedQueryString, "TIMESTAMP_MILLIS(DIV(UNIX_MILLIS(time), 900000) * 900000)") {
		t.Errorf("meta.executedQueryString: %s", frame.Meta.ExecutedQueryString)
	}
	custom := provenance(t, frame)
	for _, key := range []string{"mode", "status", "age_s", "bytes_processed", "bytes_billed", "bytes_saved", "cost", "job_ids"} {
		if _, ok := custom[key]; !ok {
			t.Errorf("meta.custom has no %s: %v", key, custom)
		}
	}
	var stats []string
	for _, stat := range frame.Meta.Stats {
		stats = append(stats, stat.DisplayName)
	}
	expected := []string{
		"Bytes processed", "Bytes billed", "Bytes saved by the cache", "Price", "Price saved by the cache", "Age",
	}
	if !slices.Equal(stats, expected) || frame.Meta.Stats[3].Value <= 0 || frame.Meta.Stats[3].Unit != "currencyUSD" {
		t.Errorf("meta.stats: %v", frame.Meta.Stats)
	}
}

func TestATableKeepsRowsAndTypes(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	sql := "SELECT normandy_slug, start_date, proposed_enrollment, targeted_percent, is_rollout, branches, channels" +
		" FROM `moz-fx-data-experiments.monitoring.experimenter_experiments_v1` ORDER BY normandy_slug"
	frame := one(t, h.query(t, s.request(t, nil, panel{refID: "T", sql: sql, format: "table"}))["T"])
	expected := []data.FieldType{
		data.FieldTypeNullableString, data.FieldTypeNullableString, data.FieldTypeNullableInt64,
		data.FieldTypeNullableFloat64, data.FieldTypeNullableBool, data.FieldTypeNullableString,
		data.FieldTypeNullableString,
	}
	for index, field := range frame.Fields {
		if field.Type() != expected[index] {
			t.Errorf("%s is %s, not %s", field.Name, field.Type(), expected[index])
		}
	}
	if frame.Rows() < 10 {
		t.Fatalf("%d rows", frame.Rows())
	}
	if branches, ok := frame.Fields[5].ConcreteAt(0); !ok || !strings.HasPrefix(branches.(string), `[{"slug":`) {
		t.Errorf("branches: %v", branches)
	}
	if frame.Meta.Type != data.FrameTypeTable {
		t.Errorf("meta.type is %q", frame.Meta.Type)
	}
}

func TestNoRowsAreNoFieldsInASeriesAndTypedFieldsInATable(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	sql := byBranch("no-such-experiment")
	responses := h.query(t, s.request(t, nil, panel{refID: "A", sql: sql, format: 0}, panel{refID: "B", sql: sql, format: 1}))
	if frame := one(t, responses["A"]); len(frame.Fields) != 0 {
		t.Errorf("a series without rows has %d fields", len(frame.Fields))
	}
	if frame := one(t, responses["B"]); len(frame.Fields) != 3 || frame.Rows() != 0 {
		t.Errorf("a table without rows has %d fields and %d rows", len(frame.Fields), frame.Rows())
	}
}

func TestMultiIsAFrameForEachSeries(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	sql := byBranch(experiment(t, h, s))
	responses := h.query(t, s.request(t, nil, panel{refID: "M", sql: sql, format: 4}, panel{refID: "W", sql: sql, format: 0}))
	frames, wide := decoded(t, responses["M"]), one(t, responses["W"])
	if len(frames) != len(wide.Fields)-1 {
		t.Fatalf("%d frames of %d series", len(frames), len(wide.Fields)-1)
	}
	for index, frame := range frames {
		if frame.RefID != "M" || frame.Meta.Type != data.FrameTypeTimeSeriesMulti || len(frame.Fields) != 2 {
			t.Fatalf("frame %d: %q, %q, %d fields", index, frame.RefID, frame.Meta.Type, len(frame.Fields))
		}
		if labels := wide.Fields[index+1].Labels; !frame.Fields[1].Labels.Equals(labels) {
			t.Errorf("frame %d has the labels %v, not %v", index, frame.Fields[1].Labels, labels)
		}
	}
}

func TestNestedColumnsOfATraceAreJSON(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	sql := "SELECT normandy_slug AS spanID, branches AS tags" +
		" FROM `moz-fx-data-experiments.monitoring.experimenter_experiments_v1` ORDER BY 1"
	frame := one(t, h.query(t, s.request(t, nil, panel{refID: "T", sql: sql, format: "traces"}))["T"])
	if frame.Fields[0].Type() != data.FieldTypeNullableString || frame.Fields[1].Type() != data.FieldTypeNullableJSON {
		t.Fatalf("the fields are %s and %s", frame.Fields[0].Type(), frame.Fields[1].Type())
	}
	tags, _ := frame.Fields[1].ConcreteAt(0)
	var parsed []map[string]any
	if err := json.Unmarshal(tags.(json.RawMessage), &parsed); err != nil || len(parsed) == 0 {
		t.Errorf("tags %s: %v", tags, err)
	}
}

func TestADateColumnGetsLiteralsOfItsType(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	sql := "SELECT normandy_slug FROM `moz-fx-data-experiments.monitoring.experimenter_experiments_v1`" +
		" WHERE $__timeFilter(start_date)"
	frame := one(t, h.query(t, s.request(t, nil, panel{refID: "A", sql: sql, format: 1}))["A"])
	if executed := frame.Meta.ExecutedQueryString; !strings.Contains(executed, "start_date >= DATE '") {
		t.Errorf("meta.executedQueryString: %s", executed)
	}
}

func TestASecondQueryBillsNothing(t *testing.T) {
	h := launch(t)
	bq := newBigQuery(t)
	s := standIn(t, bq.url)
	request := s.request(t, nil, panel{refID: "A", sql: byBranch(experiment(t, h, s)), format: 0})
	first := one(t, h.query(t, request)["A"])
	jobs := len(bq.seenJobs())
	second := one(t, h.query(t, request)["A"])
	if billed(t, first) <= 0 {
		t.Errorf("the first query billed %v bytes", billed(t, first))
	}
	if billed(t, second) != 0 || provenance(t, second)["status"] != "hit" {
		t.Errorf("the second query: %v", second.Meta.Custom)
	}
	if saved := provenance(t, second)["bytes_saved"]; saved != billed(t, first) {
		t.Errorf("the second query saved %v of %v bytes", saved, billed(t, first))
	}
	if len(bq.seenJobs()) != jobs {
		t.Errorf("the second query ran a job")
	}
	if table := one(t, h.query(t, withFormat(t, s, request, 1))["A"]); billed(t, table) != 0 || table.Rows() == 0 {
		t.Errorf("the same rows as a table: %d rows, %v", table.Rows(), table.Meta.Custom)
	}
	skipped := s.request(t, map[string]string{"http_X-Cache-Skip": "true"})
	skipped.Queries = request.Queries
	if frame := one(t, h.query(t, skipped)["A"]); billed(t, frame) <= 0 {
		t.Errorf("a query that skips the cache: %v", frame.Meta.Custom)
	}
}

// withFormat is a request for the same range in another format.
func withFormat(t *testing.T, s source, request *pluginv2.QueryDataRequest, format any) *pluginv2.QueryDataRequest {
	t.Helper()
	query := request.Queries[0]
	sql := strings.SplitN(strings.SplitN(string(query.Json), `"rawSql":"`, 2)[1], `"`, 2)[0]
	from := time.UnixMilli(query.TimeRange.FromEpochMS)
	to := time.UnixMilli(query.TimeRange.ToEpochMS)
	return s.requestFor(t, from, to, nil, panel{refID: query.RefId, sql: sql, format: format})
}

func TestEachRefIDFailsForItself(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	good := byBranch(experiment(t, h, s))
	request := s.request(t, nil,
		panel{refID: "good", sql: good, format: 0},
		panel{refID: "syntax", sql: "SELEC 1", format: 0},
		panel{refID: "table", sql: "SELECT * FROM `moz-fx-data-shared-prod.telemetry.nowhere`", format: 1},
		panel{refID: "dml", sql: "DELETE FROM " + overall + " WHERE true", format: 1},
		panel{refID: "format", sql: good, format: "pie"},
		panel{refID: "macro", sql: "SELECT $__nonsense(time)", format: 1},
		panel{refID: "empty", sql: "", format: 1},
		panel{refID: "bracket", sql: "SELECT 1 FROM " + overall + " WHERE $__timeFilter(time", format: 1},
		panel{refID: "interval", sql: "SELECT $__timeGroup(time, 5x) FROM " + overall, format: 1},
		panel{refID: "column", sql: "SELECT 1 FROM " + overall + " WHERE $__timeFilter(nocolumn)", format: 1},
		panel{refID: "timeColumn", sql: "SELECT $__column FROM " + overall, format: 1},
		panel{refID: "chosen", sql: "SELECT 1 FROM " + overall + " WHERE $__timeFilter(-- time --)", format: 1,
			more: map[string]any{"timeColumn": "-- time --"}},
		panel{refID: "typed", sql: good, format: 0, more: map[string]any{"timeColumn": "time", "timeColumnType": "TIME"}},
		panel{refID: "variable", sql: "SELECT 1 FROM " + overall + " WHERE branch IN (${branches})", format: 1},
		panel{refID: "null", sql: "SELECT CAST(NULL AS TIMESTAMP) AS time, 1 AS v", format: 0},
		panel{refID: "twice", format: 0, sql: "SELECT TIMESTAMP '2024-01-01' AS time, 'a' AS branch, 1 AS v" +
			" UNION ALL SELECT TIMESTAMP '2024-01-01', 'a', 2"},
	)
	request.Queries = append(request.Queries,
		&pluginv2.DataQuery{RefId: "json", Json: []byte("{"), TimeRange: request.Queries[0].TimeRange},
		&pluginv2.DataQuery{RefId: "backwards", Json: request.Queries[0].Json,
			TimeRange: &pluginv2.TimeRange{FromEpochMS: 2, ToEpochMS: 1}},
		&pluginv2.DataQuery{RefId: "absurd", Json: request.Queries[0].Json,
			TimeRange: &pluginv2.TimeRange{FromEpochMS: 0, ToEpochMS: 1 << 62}},
	)
	responses := h.query(t, request)
	if len(one(t, responses["good"]).Fields) < 2 {
		t.Error("the good query has no series")
	}
	for refID, expected := range map[string]struct {
		status int32
		text   string
	}{
		"syntax":     {400, ""},
		"table":      {404, "nowhere"},
		"dml":        {400, "DELETE"},
		"format":     {400, "pie"},
		"macro":      {400, "nonsense"},
		"empty":      {400, "rawSql"},
		"bracket":    {400, "$__timeFilter has an unclosed bracket"},
		"interval":   {400, `"5x"`},
		"column":     {400, "nocolumn"},
		"timeColumn": {400, "timeColumn"},
		"chosen":     {400, "choose timeColumn"},
		"typed":      {400, `timeColumnType "TIME"`},
		"variable":   {400, "${branches}"},
		"null":       {400, "null time values"},
		"twice":      {400, "2024-01-01"},
		"json":       {400, "JSON"},
		"backwards":  {400, "after its end"},
		"absurd":     {400, "outside"},
	} {
		response := responses[refID]
		if response == nil {
			t.Errorf("no response for %s", refID)
			continue
		}
		if response.Status != expected.status || !strings.Contains(response.Error, expected.text) {
			t.Errorf("%s: status %d: %s", refID, response.Status, response.Error)
		}
		if !strings.Contains(response.Error, refID) {
			t.Errorf("the error does not name the refId %s: %s", refID, response.Error)
		}
	}
}

func TestTwentyIdenticalQueriesAreOneJob(t *testing.T) {
	h := launch(t)
	bq := newBigQuery(t)
	s := standIn(t, bq.url)
	sql := byBranch(experiment(t, h, s))
	// So that the partitions of the view's daily table have been listed.
	h.query(t, s.request(t, nil, panel{refID: "A", sql: byBranch("of-nobody"), format: 0}))
	before, jobs := metric(t, h, `weir_jobs_total{outcome="done"}`), len(bq.seenJobs())
	request := s.request(t, nil, panel{refID: "A", sql: sql, format: 0})
	bq.hold()
	var group sync.WaitGroup
	frames := make([]*data.Frame, 20)
	failures := make([]error, len(frames))
	for index := range frames {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			response, err := h.data.QueryData(ctx, request)
			if err != nil {
				failures[index] = err
				return
			}
			answer := response.Responses["A"]
			if answer.Error != "" {
				failures[index] = fmt.Errorf("status %d: %s", answer.Status, answer.Error)
				return
			}
			frames[index], failures[index] = data.UnmarshalArrowFrame(answer.Frames[0])
		})
	}
	eventually(t, "the job is sent", func() bool { return len(bq.seenJobs()) > jobs })
	bq.release()
	group.Wait()
	var total float64
	for index, frame := range frames {
		if failures[index] != nil {
			t.Fatalf("query %d: %v", index, failures[index])
		}
		if frame.Rows() != frames[0].Rows() {
			t.Errorf("query %d has %d rows, the first %d", index, frame.Rows(), frames[0].Rows())
		}
		total += billed(t, frame)
	}
	if sent := len(bq.seenJobs()) - jobs; sent != 1 {
		t.Errorf("%d jobs were sent", sent)
	}
	if done := metric(t, h, `weir_jobs_total{outcome="done"}`) - before; done != 1 {
		t.Errorf("the metrics count %v jobs", done)
	}
	if total <= 0 {
		t.Errorf("together they billed %v bytes", total)
	}
}

func TestACancelledQueryCancelsItsJob(t *testing.T) {
	h := launch(t)
	bq := newBigQuery(t)
	s := standIn(t, bq.url)
	sql := byBranch(experiment(t, h, s))
	bq.hold()
	jobs := len(bq.seenJobs())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := h.data.QueryData(ctx, s.request(t, nil, panel{refID: "A", sql: sql, format: 0}))
		ended <- err
	}()
	eventually(t, "the job is sent", func() bool { return len(bq.seenJobs()) > jobs })
	cancel()
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Fatalf("the call ended with %v", err)
	}
	id := bq.seenJobs()[jobs].ID
	eventually(t, "job "+id+" is cancelled", func() bool {
		for _, cancelled := range bq.seenCancellations() {
			if cancelled == id {
				return true
			}
		}
		return false
	})
	bq.release()
	one(t, h.query(t, s.request(t, nil, panel{refID: "A", sql: busiest, format: 1}))["A"])
}

func TestJobsCarryTheLabelsOfTheirPanel(t *testing.T) {
	h := launch(t)
	bq := newBigQuery(t)
	s := standIn(t, bq.url)
	headers := map[string]string{
		"http_X-Dashboard-Uid": "Enrollment/1", "http_X-Panel-Id": "7", "FromAlert": "true", "Cookie": "session=1",
	}
	one(t, h.query(t, s.request(t, headers, panel{refID: "A", sql: busiest, format: 1}))["A"])
	jobs := bq.seenJobs()
	if len(jobs) != 1 {
		t.Fatalf("%d jobs", len(jobs))
	}
	for label, expected := range map[string]string{"dashboard_uid": "enrollment_1", "panel_id": "7"} {
		if jobs[0].Labels[label] != expected {
			t.Errorf("label %s is %q", label, jobs[0].Labels[label])
		}
	}
}

func TestAnyRoleIsAccepted(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	for _, role := range []string{"", "None", "Editor", "weird role"} {
		s.role = role
		one(t, h.query(t, s.request(t, nil, panel{refID: "A", sql: "SELECT 1 AS n", format: 1}))["A"])
	}
	request := s.request(t, nil, panel{refID: "A", sql: "SELECT 1 AS n", format: 1})
	request.PluginContext.User = nil
	one(t, h.query(t, request)["A"])
}

func TestDataSourcesAreToldApartAndSettingsAreReadAgain(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	query := panel{refID: "A", sql: "SELECT 1 AS n", format: 1}
	one(t, h.query(t, s.request(t, nil, query))["A"])
	broken := s.with("defaultProject", nil)
	response := h.query(t, broken.request(t, nil, query))["A"]
	if response.Status != 400 || !strings.Contains(response.Error, "defaultProject") {
		t.Errorf("after a change of settings: status %d: %s", response.Status, response.Error)
	}
	other := s
	other.uid = "other"
	one(t, h.query(t, other.request(t, nil, query))["A"])
	mended := broken.with("defaultProject", project())
	one(t, h.query(t, mended.request(t, nil, query))["A"])
}
