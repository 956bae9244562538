package hostgo

import (
	"net/http"
	"strings"
	"testing"
)

// TestARestrictedDataSourceShowsNothingOfOtherDatasets asks every route of the editor about a project that
// the caller may see and the data source may not.
func TestARestrictedDataSourceShowsNothingOfOtherDatasets(t *testing.T) {
	const other = "moz-fx-data-experiments"
	h := launch(t)
	h.headers = map[string]string{"Authorization": "Bearer token-of-ada"}
	bq := newBigQuery(t)
	s := standIn(t, bq.url).with("authenticationType", "forwardOAuthIdentity").with("oauthPassThru", true)
	of := `"project": "` + other + `", "dataset": "monitoring", "table": "experimenter_experiments_v1"`
	paths := []string{"projects", "datasets", "tables", "columns", "dataset/table/schema"}
	for _, path := range paths {
		code, body := h.call(t, s, "POST", path, []byte("{"+of+"}"))
		if code != http.StatusOK || path == "projects" && !strings.Contains(string(body), other) {
			t.Errorf("%s without a restriction: %d: %s", path, code, body)
		}
	}
	restricted := s.with("restrictToAccessibleDatasets", true)
	for _, path := range paths {
		code, body := h.call(t, restricted, "POST", path, []byte("{"+of+"}"))
		if path == "projects" {
			if code != http.StatusOK || strings.Contains(string(body), other) || !strings.Contains(string(body), project()) {
				t.Errorf("%s: %d: %s", path, code, body)
			}
		} else if code != http.StatusForbidden || !strings.Contains(string(body), other) {
			t.Errorf("%s: %d: %s", path, code, body)
		}
	}
	if gets := bq.seenGets("experimenter_experiments_v1"); gets != 1 {
		t.Errorf("the table was described %d times, once without the restriction expected", gets)
	}
	allowed := restricted.with("additionalAllowedDatasets", other+".monitoring")
	for _, path := range paths {
		if code, body := h.call(t, allowed, "POST", path, []byte("{"+of+"}")); code != http.StatusOK {
			t.Errorf("%s of an allowed dataset: %d: %s", path, code, body)
		}
	}
}
