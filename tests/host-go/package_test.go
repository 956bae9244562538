package hostgo

import (
	"archive/zip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
)

// TestThePackedPluginIsCompleteAndAnswers unpacks what `mage dist` made into an empty folder, as a person
// installs it, and starts it from there.
func TestThePackedPluginIsCompleteAndAnswers(t *testing.T) {
	path := os.Getenv("WEIR_ZIP")
	if path == "" {
		t.Skip("WEIR_ZIP is not set; give the zip of mage buildDebug dist")
	}
	folder := t.TempDir()
	unpack(t, path, folder)
	plugin := filepath.Join(folder, "weir-bigquery-datasource")
	text, err := os.ReadFile(filepath.Join(plugin, "plugin.json"))
	if err != nil {
		t.Fatal(err)
	}
	var described struct {
		Info struct {
			Version, Updated string
			Logos            map[string]string
			Screenshots      []struct{ Path string }
		}
		Includes []struct{ Path string }
	}
	if err := json.Unmarshal(text, &described); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^\d+\.\d+\.\d+`).MatchString(described.Info.Version) ||
		!regexp.MustCompile(`^\d{4}-\d{2}-\d{2}$`).MatchString(described.Info.Updated) {
		t.Errorf("version %q of %q is not stamped", described.Info.Version, described.Info.Updated)
	}
	named := []string{"module.js", "module.js.map", "README.md", "CHANGELOG.md", "LICENSE"}
	for _, logo := range described.Info.Logos {
		named = append(named, logo)
	}
	for _, screenshot := range described.Info.Screenshots {
		named = append(named, screenshot.Path)
	}
	for _, include := range described.Includes {
		named = append(named, include.Path)
	}
	if len(described.Includes) < 3 {
		t.Errorf("only %d boards are included", len(described.Includes))
	}
	for _, name := range named {
		if _, err := os.Stat(filepath.Join(plugin, name)); err != nil {
			t.Error(err)
		}
	}
	t.Setenv("WEIR_BIN", filepath.Join(plugin, "gpx_weir_"+runtime.GOOS+"_"+runtime.GOARCH))
	answer := launch(t).health(t, standIn(t, newBigQuery(t).url))
	if answer.Status != pluginv2.CheckHealthResponse_OK {
		t.Errorf("the packed plugin says %s", answer.Message)
	}
}

func unpack(t *testing.T, path, folder string) {
	t.Helper()
	archive, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, entry := range archive.File {
		if !strings.HasPrefix(entry.Name, "weir-bigquery-datasource/") || !filepath.IsLocal(entry.Name) {
			t.Fatalf("%s is not in the plugin's folder", entry.Name)
		}
		to := filepath.Join(folder, entry.Name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		from, err := entry.Open()
		if err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, entry.Mode())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(file, from); err != nil {
			t.Fatal(err)
		}
		_ = from.Close()
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
