package hostgo

import (
	"encoding/json"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
)

const day = 24 * time.Hour

// source is a data source's settings.
type source struct {
	uid     string
	json    map[string]any
	secure  map[string]string
	role    string
	updated int64
}

// standIn is a data source over the BigQuery stand-in behind rest.
func standIn(t *testing.T, rest string) source {
	t.Helper()
	settings := map[string]any{
		"authenticationType": "none",
		"serviceEndpoint":    rest,
		"storageEndpoint":    required(t, "WEIR_FAKE_STORAGE", "the base URL of the stand-in's Storage Read API"),
		"defaultProject":     project(),
	}
	return source{uid: "telemetry", json: settings, role: "Viewer", updated: 1}
}

func project() string {
	if project := os.Getenv("WEIR_FAKE_PROJECT"); project != "" {
		return project
	}
	return "moz-fx-data-shared-prod"
}

func fakeREST(t *testing.T) string {
	t.Helper()
	return required(t, "WEIR_FAKE_REST", "the base URL of a BigQuery stand-in over the demonstration data")
}

// with is the data source after a change of one of its settings.
func (s source) with(key string, value any) source {
	s.json = maps.Clone(s.json)
	if value == nil {
		delete(s.json, key)
	} else {
		s.json[key] = value
	}
	s.updated++
	return s
}

func (s source) context(t *testing.T) *pluginv2.PluginContext {
	t.Helper()
	settings, err := json.Marshal(s.json)
	if err != nil {
		t.Fatal(err)
	}
	return &pluginv2.PluginContext{
		OrgId:    1,
		PluginId: "weir-bigquery-datasource",
		User:     &pluginv2.User{Login: "somebody", Name: "Somebody", Email: "somebody@example.com", Role: s.role},
		DataSourceInstanceSettings: &pluginv2.DataSourceInstanceSettings{
			Id: 1, Uid: s.uid, Name: "Telemetry", JsonData: settings,
			DecryptedSecureJsonData: s.secure, LastUpdatedMS: s.updated,
		},
	}
}

// panel is a query of a board.
type panel struct {
	refID  string
	sql    string
	format any
	// more is put into the query's JSON.
	more map[string]any
}

func (s source) request(t *testing.T, headers map[string]string, panels ...panel) *pluginv2.QueryDataRequest {
	t.Helper()
	to := time.Now().Truncate(5 * time.Minute)
	return s.requestFor(t, to.Add(-day), to, headers, panels...)
}

func (s source) requestFor(
	t *testing.T, from, to time.Time, headers map[string]string, panels ...panel,
) *pluginv2.QueryDataRequest {
	t.Helper()
	request := &pluginv2.QueryDataRequest{PluginContext: s.context(t), Headers: headers}
	for _, panel := range panels {
		model := map[string]any{"refId": panel.refID, "rawSql": panel.sql, "format": panel.format}
		maps.Copy(model, panel.more)
		encoded, err := json.Marshal(model)
		if err != nil {
			t.Fatal(err)
		}
		request.Queries = append(request.Queries, &pluginv2.DataQuery{
			RefId: panel.refID, MaxDataPoints: 1000, IntervalMS: (15 * time.Minute).Milliseconds(), Json: encoded,
			TimeRange: &pluginv2.TimeRange{FromEpochMS: from.UnixMilli(), ToEpochMS: to.UnixMilli()},
		})
	}
	return request
}
