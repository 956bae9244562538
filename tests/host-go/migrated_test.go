package hostgo

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
)

// outcomes is what every query of tests/boards comes to, by its file and place: the fields of its frame,
// its error's status and a part of its message, or whose query it is if not ours.
var outcomes = map[string]string{
	"alert-rules.yaml: Many unenrollments, A":                 "timeseries-wide: time, value",
	"alert-rules.yaml: Many unenrollments, B":                 "for __expr__",
	"alert-rules.yaml: With a variable, A":                    "table: value",
	"arrays-export.json: Flattened, A":                        "table: n",
	"arrays-export.json: Gathered arrays, A":                  "table: experiment, branches",
	"arrays-export.json: Literal arrays, A":                   "table: sizes, branches, flags",
	"arrays-export.json: Two statements, A":                   "400: the text holds several statements; only one query is run",
	"arrays-export.json: annotation Annotations & Alerts":     "for grafana",
	"doitintl-export.json: By month, A":                       "timeseries-wide: time, value",
	"doitintl-export.json: By month, B":                       "timeseries-wide: time, value",
	"doitintl-export.json: Sharded, A":                        "400: Unrecognized name: _table_suffix at [7:97]",
	"doitintl-sharded.json: Visits by day, A":                 "400: analytics.visits_* does not match any table",
	"doitintl-export.json: Sharded, B":                        "400: rawSql is missing or empty; give the SQL to run",
	"grafana7-doitintl.json: Mixed, A":                        "table: branch, value",
	"grafana7-doitintl.json: Mixed, B":                        "for Prometheus",
	"grafana7-doitintl.json: Mixed, C":                        "for grafana-postgresql-datasource",
	"grafana7-doitintl.json: Mixed, D":                        "table: f0_",
	"grafana7-doitintl.json: Unenrollments, A":                "timeseries-wide: time and many series",
	"grafana7-doitintl.json: Unenrollments, B":                "timeseries-wide: time, value",
	"grafana7-doitintl.json: annotation Annotations & Alerts": "for -- Grafana --",
	"grafana7-doitintl.json: annotation Launches":             "table: time, text",
	"grafana7-doitintl.json: variable experiment":             "table: normandy_slug",
	"library-panel.json: Daily actives, A":                    "timeseries-wide: time, value[branch]",
	"objects.json: Enrollments, A":                            "timeseries-wide: time, value[branch]",
	"objects.json: Enrollments, B":                            "400: two rows have the time",
	"objects.json: Mixed, A":                                  "table: n",
	"objects.json: Mixed, B":                                  "for prometheus",
	"objects.json: Mixed, C":                                  "for __expr__",
	"objects.json: annotation Annotations & Alerts":           "for grafana",
	"objects.json: annotation Ends":                           "table: time, text",
	"objects.json: annotation Starts":                         "table: time, text",
	"objects.json: panel 5, A":                                "for datasource",
	"objects.json: variable experiment":                       "table: normandy_slug",
	"v2.json: Enrollments, A":                                 "timeseries-wide: time, value[branch]",
	"v2.json: Enrollments, B":                                 "table: branch, value",
	"v2.json: Enrollments, C":                                 "for loki",
	"v2.json: annotation Annotations & Alerts":                "for grafana",
	"v2.json: annotation Starts":                              "table: time, text",
	"v2.json: variable branch":                                "table: branch",
	"v2.json: variable experiment":                            "table: normandy_slug",
	"v2alpha1.json: Enrollments, A":                           "timeseries-wide: time, value",
	"v2alpha1.json: Enrollments, B":                           "for prometheus",
	"v2alpha1.json: annotation Ends":                          "table: time, text",
	"v2alpha1.json: variable experiment":                      "table: normandy_slug",
	"v2beta1.yaml: Enrollments, total, A":                     "timeseries-wide: time, value",
	"v2beta1.yaml: Enrollments, total, B":                     "timeseries-wide: time, value",
}

// TestEveryQueryOfEveryMigratedFileIsAnsweredOrRefused migrates tests/boards with the binary, and asks
// what the files hold then as Grafana asks it.
func TestEveryQueryOfEveryMigratedFileIsAnsweredOrRefused(t *testing.T) {
	files := migrated(t)
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	found := map[string]bool{}
	for _, file := range files {
		count := 0
		for _, query := range file.queries() {
			if found[query.at] {
				t.Errorf("two queries are at %s", query.at)
			}
			found[query.at] = true
			if _, ok := query.model["rawSql"]; ok {
				count++
			}
			expected, ok := outcomes[query.at]
			outcome := "for " + query.plugin
			if query.plugin == weir {
				outcome = answer(t, h, s, query, file.variables())
			}
			if !ok || !matches(outcome, expected) {
				t.Errorf("%s\n  comes to %s\n  not to   %s", query.at, outcome, expected)
			}
		}
		// Counted without knowing where queries are, so that none is passed over.
		if everywhere := texts(file.tree); count != everywhere {
			t.Errorf("%s holds SQL %d times, and %d queries with SQL were found", file.name, everywhere, count)
		}
	}
	for at := range outcomes {
		if !found[at] {
			t.Errorf("nothing is at %s", at)
		}
	}
}

// TestLibraryPanelsOfMigratedBoardsAreAmongTheFiles is for the panels whose queries are elsewhere.
func TestLibraryPanelsOfMigratedBoardsAreAmongTheFiles(t *testing.T) {
	var mentioned, are []string
	for _, file := range migrated(t) {
		mentions, is := file.libraries()
		mentioned = append(mentioned, mentions...)
		are = append(are, is)
	}
	if len(mentioned) != 2 {
		t.Errorf("library panels %v are mentioned", mentioned)
	}
	for _, uid := range mentioned {
		if !slices.Contains(are, uid) {
			t.Errorf("the library panel %s is in no file", uid)
		}
	}
}

// migrated is the files of tests/boards after a migration that leaves something to a person.
func migrated(t *testing.T) []saved {
	t.Helper()
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS("../boards")); err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(folder, "*"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no boards: %v", err)
	}
	// Of the data sources that a board of Grafana 7 names, one is not in datasources.yaml.
	command := exec.Command(binary(t), append([]string{"migrate", "--datasource", "Other BQ"}, paths...)...)
	said, err := command.CombinedOutput()
	if command.ProcessState.ExitCode() != 2 {
		t.Fatalf("weir migrate: %v\n%s", err, said)
	}
	plugins := map[string]string{"Other BQ": weir}
	var files []saved
	for _, path := range paths {
		files = append(files, read(t, path, plugins))
	}
	return files
}

// answer asks a query as Grafana does, and says what comes.
func answer(t *testing.T, h *host, s source, query savedQuery, variables map[string]string) string {
	t.Helper()
	response := h.query(t, query.request(t, s, variables))[query.refID()]
	switch {
	case response == nil:
		return "no response"
	case response.Error != "":
		return fmt.Sprintf("%d: %s", response.Status, response.Error)
	}
	frame := one(t, response)
	if frame.Rows() == 0 {
		return "no rows"
	}
	var fields []string
	for _, field := range frame.Fields {
		name := field.Name
		if len(field.Labels) > 0 {
			name += fmt.Sprintf("%v", slices.Sorted(maps.Keys(field.Labels)))
		}
		fields = append(fields, name)
	}
	if frame.Meta.Type == data.FrameTypeTimeSeriesWide {
		// The series of a frame have one name and labels, or a name each, which the data give.
		if fields = slices.Compact(fields); len(fields) > 2 {
			fields = []string{"time and many series"}
		}
	}
	return fmt.Sprintf("%s: %s", frame.Meta.Type, strings.Join(fields, ", "))
}

// matches tells whether an outcome is the expected one; of an error the text is a part.
func matches(outcome, expected string) bool {
	status, part, isError := strings.Cut(expected, ": ")
	if isError && status[0] >= '4' && status[0] <= '5' {
		return strings.HasPrefix(outcome, status+": ") && strings.Contains(outcome, part)
	}
	return outcome == expected
}

// refID is the query's letter; annotations and variables may have none.
func (q savedQuery) refID() string {
	if refID := text(q.model, "refId"); refID != "" {
		return refID
	}
	return "Anno"
}

// request is what Grafana sends for the query. A query in the shape of the official plugin's editor is
// brought into that plugin's other shape by its front end; alert rules have none. Others go as they are saved.
func (q savedQuery) request(t *testing.T, s source, variables map[string]string) *pluginv2.QueryDataRequest {
	t.Helper()
	model := maps.Clone(q.model)
	model["refId"] = q.refID()
	sql, hasSQL := model["rawSql"].(string)
	if q.alert {
		// Grafana reads $$ in a provisioned file as a dollar.
		sql = strings.ReplaceAll(sql, "$$", "$")
	} else {
		sql = interpolated(sql, variables)
	}
	if hasSQL {
		model["rawSql"] = sql
	}
	_, isDoitintl := model["metricColumn"]
	if _, isTimed := model["timeColumn"]; !q.alert && !isDoitintl && !isTimed {
		model = map[string]any{
			"refId": q.refID(), "rawSql": sql, "format": model["format"],
			"connectionArgs": map[string]any{
				"dataset": model["dataset"], "table": model["table"], "location": model["location"],
				"enableStorageAPI": false,
			},
		}
	}
	model["datasource"] = map[string]any{"type": weir, "uid": s.uid}
	encoded, err := json.Marshal(model)
	if err != nil {
		t.Fatal(err)
	}
	to := time.Now()
	// Long enough for rows of every kind at any time of the day: some tables have one a day.
	span := max(q.span, 14*24*time.Hour)
	headers := map[string]string{}
	if q.alert {
		headers["FromAlert"] = "true"
	}
	return &pluginv2.QueryDataRequest{PluginContext: s.context(t), Headers: headers, Queries: []*pluginv2.DataQuery{{
		RefId: q.refID(), MaxDataPoints: 1000, IntervalMS: span.Milliseconds() / 1000, Json: encoded,
		TimeRange: &pluginv2.TimeRange{FromEpochMS: to.Add(-span).UnixMilli(), ToEpochMS: to.UnixMilli()},
	}}}
}
