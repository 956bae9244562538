package hostgo

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
)

// board is what these tests read of a dashboard's JSON.
type board struct {
	UID        string  `json:"uid"`
	Panels     []tile  `json:"panels"`
	Templating listing `json:"templating"`
}

type tile struct {
	Title   string   `json:"title"`
	Targets []target `json:"targets"`
}

type target struct {
	RefID     string `json:"refId"`
	RawSQL    string `json:"rawSql"`
	Format    any    `json:"format"`
	QueryType string `json:"queryType"`
	By        string `json:"by"`
}

type listing struct {
	List []struct {
		Name string `json:"name"`
		Type string `json:"type"`
		// Query is an object for the variables that we look at.
		Query json.RawMessage `json:"query"`
	} `json:"list"`
}

// TestEveryQueryOfEveryBoardIsAnswered runs the queries of the boards that are shipped, their variables
// replaced as our front end replaces them.
func TestEveryQueryOfEveryBoardIsAnswered(t *testing.T) {
	paths, err := filepath.Glob("../../dashboards/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no boards: %v", err)
	}
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	slug := experiment(t, h, s)
	variables := strings.NewReplacer(
		"${experiment_id}", slug, "$experiment_id", slug,
		"$branch_id", quoted(t, h, s, "branch", slug), "$normalized_channel", quoted(t, h, s, "normalized_channel", slug),
		"$application", "'firefox_desktop','fenix'",
	)
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var board board
		if err := json.Unmarshal(text, &board); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		for _, tile := range board.Panels {
			for _, target := range tile.Targets {
				frame := answered(t, h, s, fmt.Sprintf("%s: %s", path, tile.Title), target, variables)
				if frame != nil && frame.Rows() == 0 && !strings.Contains(target.RawSQL, "daily_active") {
					t.Errorf("%s: %s: no rows", path, tile.Title)
				}
			}
		}
		for _, variable := range board.Templating.List {
			var target target
			if variable.Type != "query" || json.Unmarshal(variable.Query, &target) != nil {
				continue
			}
			frame := answered(t, h, s, fmt.Sprintf("%s: variable %s", path, variable.Name), target, variables)
			if frame != nil && frame.Rows() == 0 {
				t.Errorf("%s: variable %s has no values", path, variable.Name)
			}
		}
	}
}

// TestATotalIsTheSumOfItsBranches looks at running totals in their five minutes: in the last ones some branch has
// no rows yet, and must not be missing from the total.
func TestATotalIsTheSumOfItsBranches(t *testing.T) {
	h := launch(t)
	s := standIn(t, newBigQuery(t).url)
	slug := experiment(t, h, s)
	variables := strings.NewReplacer("$experiment_id", slug, "$branch_id", quoted(t, h, s, "branch", slug))
	text, err := os.ReadFile("../../dashboards/experiment-enrollment.json")
	if err != nil {
		t.Fatal(err)
	}
	var board board
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	var panels []panel
	for _, tile := range board.Panels {
		if strings.HasPrefix(tile.Title, "Cumulative population estimate: ") {
			panels = append(panels, panel{refID: tile.Title, sql: variables.Replace(tile.Targets[0].RawSQL), format: 0})
		}
	}
	request := s.request(t, nil, panels...)
	for _, query := range request.Queries {
		query.IntervalMS = (5 * time.Minute).Milliseconds()
	}
	answers := h.query(t, request)
	total, branches := one(t, answers[panels[0].refID]), one(t, answers[panels[1].refID])
	if total.Rows() != branches.Rows() || total.Rows() < 200 || len(branches.Fields) < 3 {
		t.Fatalf("%d and %d rows, %d branches", total.Rows(), branches.Rows(), len(branches.Fields)-1)
	}
	sums := make([]float64, len(branches.Fields))
	for row := range total.Rows() {
		sum := 0.0
		for column, field := range branches.Fields[1:] {
			if value, ok := field.ConcreteAt(row); ok {
				sums[column] = number(t, value)
			}
			sum += sums[column]
		}
		if value, _ := total.Fields[1].ConcreteAt(row); number(t, value) != sum {
			t.Errorf("row %d: the total is %v, its branches are %v", row, value, sum)
		}
	}
}

func number(t *testing.T, value any) float64 {
	t.Helper()
	switch value := value.(type) {
	case int64:
		return float64(value)
	case float64:
		return value
	}
	t.Fatalf("%v is no number", value)
	return 0
}

func answered(t *testing.T, h *host, s source, name string, target target, variables *strings.Replacer) *data.Frame {
	t.Helper()
	sql := variables.Replace(target.RawSQL)
	to := time.Now()
	query := panel{refID: target.RefID, sql: sql, format: target.Format}
	if target.QueryType != "" {
		query.more = map[string]any{"queryType": target.QueryType, "by": target.By}
	}
	response := h.query(t, s.requestFor(t, to.Add(-2*day), to, nil, query))[target.RefID]
	if response == nil || response.Error != "" {
		t.Errorf("%s: %v\n%s", name, response, sql)
		return nil
	}
	return one(t, response)
}

// quoted is the list of an experiment's values in a column, as a multi-value variable is written.
func quoted(t *testing.T, h *host, s source, column, slug string) string {
	t.Helper()
	sql := "SELECT DISTINCT " + column + " FROM " + overall + " WHERE experiment='" + slug + "' AND " + column +
		" IS NOT NULL AND $__timeFilter(time)"
	frame := one(t, h.query(t, s.request(t, nil, panel{refID: "A", sql: sql, format: 1}))["A"])
	var values []string
	for row := range frame.Rows() {
		value, _ := frame.Fields[0].ConcreteAt(row)
		values = append(values, fmt.Sprintf("'%s'", value))
	}
	return strings.Join(values, ",")
}
