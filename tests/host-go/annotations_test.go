package hostgo

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// events has the columns that Grafana's own support for annotations looks for, in types that it does not
// take for them by itself: dates, and a list of tags.
const events = "SELECT start_date AS time, end_date AS timeEnd, normandy_slug AS title, " +
	"CONCAT(app_name, ' ', status) AS text, ARRAY_CONCAT(channels, [app_name]) AS tags " +
	"FROM `moz-fx-data-experiments.monitoring.experimenter_experiments_v1` " +
	"WHERE $__timeFilter(start_date) AND end_date IS NOT NULL ORDER BY 1, 3"

// TestAnnotationsAreEvents asks an annotation as boards of both plugins have it after their migration, under
// the refId that Grafana gives it.
func TestAnnotationsAreEvents(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	official := map[string]any{"rawQuery": true, "editorMode": "code"}
	doitintl := map[string]any{"rawQuery": true, "metricColumn": "none", "timeColumn": "start_date"}
	to := time.Now()
	var shown []string
	for _, format := range []any{0, 1, "table", nil} {
		for _, more := range []map[string]any{official, doitintl} {
			query := panel{refID: "Anno", sql: events, format: format, more: maps.Clone(more)}
			frame := one(t, h.query(t, s.requestFor(t, to.Add(-365*day), to, nil, query))["Anno"])
			shown = append(shown, table(t, frame))
		}
	}
	for _, other := range shown {
		if other != shown[0] {
			t.Errorf("one annotation is\n%s\nand\n%s", shown[0], other)
		}
	}
}

// table checks the types of an annotation's fields and its first event, and is all of them as text.
func table(t *testing.T, frame *data.Frame) string {
	t.Helper()
	kinds := map[string]data.FieldType{
		"time": data.FieldTypeNullableTime, "timeEnd": data.FieldTypeNullableTime,
		"title": data.FieldTypeNullableString, "text": data.FieldTypeNullableString, "tags": data.FieldTypeNullableString,
	}
	for _, field := range frame.Fields {
		if field.Type() != kinds[field.Name] {
			t.Errorf("the field %s has the type %s", field.Name, field.Type())
		}
	}
	if len(frame.Fields) != len(kinds) || frame.Rows() == 0 {
		t.Fatalf("%d fields, %d rows", len(frame.Fields), frame.Rows())
	}
	tags, _ := frame.Fields[4].ConcreteAt(0)
	text, _ := frame.Fields[3].ConcreteAt(0)
	app, _, _ := strings.Cut(text.(string), " ")
	if !strings.HasSuffix(","+tags.(string), ","+app) {
		t.Errorf("the tags of %v are %v", text, tags)
	}
	written, err := frame.StringTable(-1, -1)
	if err != nil {
		t.Fatal(err)
	}
	return written
}
