package hostgo

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const weir = "weir-bigquery-datasource"

// saved is a file of Grafana's, a board or of provisioning, as far as its queries go.
type saved struct {
	name string
	tree any
	// plugins are those of data sources by name and uid.
	plugins map[string]string
}

// savedQuery is a query with what Grafana knows beside it.
type savedQuery struct {
	// at is the file and the place in it.
	at     string
	plugin string
	model  map[string]any
	span   time.Duration
	// alert is whether the query goes out without a front end.
	alert bool
}

// read parses a file; JSON is YAML but for tabs.
func read(t *testing.T, path string, plugins map[string]string) saved {
	t.Helper()
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file := saved{name: filepath.Base(path), plugins: plugins}
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(string(written), "\t", " ")), &file.tree); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, source := range list(file.tree, "datasources") {
		for _, key := range []string{"name", "uid"} {
			plugins[text(source, key)] = text(source, "type")
		}
	}
	return file
}

// board is the board in the file: bare, or in a resource.
func (f saved) board() any {
	if spec := at(f.tree, "spec"); spec != nil {
		return spec
	}
	return f.tree
}

// queries are all that the file holds.
func (f saved) queries() []savedQuery {
	var found []savedQuery
	span := f.span()
	add := func(place string, source any, model any) {
		query := savedQuery{at: f.name + ": " + place, plugin: f.plugin(source), span: span}
		query.model, _ = model.(map[string]any)
		found = append(found, query)
	}
	board := f.board()
	for _, panel := range append(panels(board), at(f.tree, "result", "model")) {
		for _, target := range list(panel, "targets") {
			source := at(target, "datasource")
			if source == nil {
				source = at(panel, "datasource")
			}
			add(title(panel)+", "+text(target, "refId"), source, target)
		}
	}
	for _, annotation := range list(board, "annotations", "list") {
		add("annotation "+text(annotation, "name"), at(annotation, "datasource"), at(annotation, "target"))
	}
	for _, variable := range list(board, "templating", "list") {
		if text(variable, "type") == "query" {
			add("variable "+text(variable, "name"), at(variable, "datasource"), at(variable, "query"))
		}
	}
	walk(board, func(object map[string]any) {
		spec := at(object, "spec")
		query := at(spec, "query")
		place := map[string]string{"AnnotationQuery": "annotation ", "QueryVariable": "variable "}[text(object, "kind")]
		switch {
		case place != "":
			add(place+text(spec, "name"), query, at(query, "spec"))
		case text(object, "kind") == "Panel":
			for _, query := range list(spec, "data", "spec", "queries") {
				query = at(query, "spec")
				model, _ := at(query, "query", "spec").(map[string]any)
				model = maps.Clone(model)
				model["refId"] = text(query, "refId")
				add(text(spec, "title")+", "+text(query, "refId"), at(query, "query"), model)
			}
		}
	})
	for _, group := range list(f.tree, "groups") {
		for _, rule := range list(group, "rules") {
			for _, query := range list(rule, "data") {
				add(text(rule, "title")+", "+text(query, "refId"), text(query, "datasourceUid"), at(query, "model"))
				seconds, _ := at(query, "relativeTimeRange", "from").(int)
				found[len(found)-1].span = time.Duration(seconds) * time.Second
				found[len(found)-1].alert = true
			}
		}
	}
	return found
}

// panels are a classic board's, those of rows too.
func panels(board any) []any {
	var found []any
	for _, row := range list(board, "rows") {
		found = append(found, panels(row)...)
	}
	for _, panel := range list(board, "panels") {
		found = append(append(found, panel), panels(panel)...)
	}
	return found
}

func title(panel any) string {
	if title := text(panel, "title"); title != "" {
		return title
	}
	return fmt.Sprintf("panel %v", at(panel, "id"))
}

// libraries are the uids of the library panels that the file mentions, and of the one that it is.
func (f saved) libraries() (mentioned []string, is string) {
	if is = text(at(f.tree, "result"), "uid"); is != "" {
		return nil, is
	}
	walk(f.tree, func(object map[string]any) {
		if uid := text(object["libraryPanel"], "uid"); uid != "" {
			mentioned = append(mentioned, uid)
		}
	})
	return mentioned, ""
}

// plugin is whose a query is, by what stands for its data source.
func (f saved) plugin(source any) string {
	for _, key := range []string{"group", "type", "kind"} {
		if plugin := text(source, key); plugin != "" && plugin != "DataQuery" {
			return plugin
		}
	}
	name, _ := source.(string)
	variable := strings.TrimSuffix(strings.TrimPrefix(name, "${"), "}")
	for _, input := range list(f.tree, "__inputs") {
		if text(input, "name") == variable {
			return text(input, "pluginId")
		}
	}
	if plugin, ok := f.plugins[name]; ok {
		return plugin
	}
	return name
}

// span is the length of the range that a board opens with; six hours are Grafana's where it says nothing.
func (f saved) span() time.Duration {
	for _, key := range []string{"time", "timeSettings"} {
		if days, ok := strings.CutSuffix(strings.TrimPrefix(text(at(f.board(), key), "from"), "now-"), "d"); ok {
			count, _ := strconv.Atoi(days)
			return time.Duration(count) * day
		}
	}
	return 6 * time.Hour
}

// variables are the saved values, one each in these files, by name.
func (f saved) variables() map[string]string {
	found := map[string]string{}
	board := f.board()
	walk(board, func(object map[string]any) {
		if value := text(object["current"], "value"); value != "" {
			found[text(object, "name")] = value
		}
	})
	return found
}

var mention = regexp.MustCompile(`\$(\w+)|\$\{(\w+)}|\[\[(\w+)]]`)

// interpolated is a text as the front end sends it: a single value stands as it is.
func interpolated(sql string, variables map[string]string) string {
	return mention.ReplaceAllStringFunc(sql, func(found string) string {
		if value, ok := variables[strings.Trim(found, "${}[]")]; ok {
			return value
		}
		return found
	})
}

// texts counts the objects with a query's SQL, wherever they are.
func texts(tree any) int {
	count := 0
	walk(tree, func(object map[string]any) {
		if _, ok := object["rawSql"]; ok {
			count++
		}
	})
	return count
}

// walk visits every object of a tree.
func walk(tree any, visit func(map[string]any)) {
	switch tree := tree.(type) {
	case map[string]any:
		visit(tree)
		for _, value := range tree {
			walk(value, visit)
		}
	case []any:
		for _, value := range tree {
			walk(value, visit)
		}
	}
}

// at is what is under a path of keys, or nil.
func at(tree any, path ...string) any {
	for _, key := range path {
		object, _ := tree.(map[string]any)
		tree = object[key]
	}
	return tree
}

func list(tree any, path ...string) []any {
	found, _ := at(tree, path...).([]any)
	return found
}

func text(tree any, key string) string {
	found, _ := at(tree, key).(string)
	return found
}
