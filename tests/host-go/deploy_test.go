package hostgo

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
	"go.yaml.in/yaml/v3"
)

// root is the clone.
const root = "../.."

// compose is deploy/compose.yaml; a key that is not here is an error.
type compose struct {
	Services map[string]struct {
		Build       struct{ Context, Dockerfile string }
		Ports       []string
		Environment map[string]string
		Volumes     []string
	}
	Volumes map[string]struct{}
}

// instruction is one of a container file.
type instruction struct {
	name string
	// flags are arguments such as --from=build.
	flags, arguments []string
}

// containerFile parses a container file; a JSON form and a shell form both become words.
func containerFile(t *testing.T, path string) []instruction {
	t.Helper()
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var instructions []instruction
	lines := bufio.NewScanner(strings.NewReader(strings.ReplaceAll(string(written), "\\\n", " ")))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		words := strings.Fields(rest)
		if strings.HasPrefix(rest, "[") {
			if err := json.Unmarshal([]byte(rest), &words); err != nil {
				t.Fatalf("%s: %s: %v", path, line, err)
			}
		}
		is := instruction{name: name, arguments: words}
		for len(is.arguments) > 0 && strings.HasPrefix(is.arguments[0], "--") && name == "COPY" {
			is.flags, is.arguments = append(is.flags, is.arguments[0]), is.arguments[1:]
		}
		instructions = append(instructions, is)
	}
	return instructions
}

// all are the instructions of a name.
func all(instructions []instruction, name string) []instruction {
	return slices.DeleteFunc(slices.Clone(instructions), func(one instruction) bool { return one.name != name })
}

// copied tells where a container file puts things of the clone, by their paths there.
func copied(instructions []instruction) map[string]string {
	places := map[string]string{}
	for _, one := range all(instructions, "COPY") {
		if slices.ContainsFunc(one.flags, func(flag string) bool { return strings.HasPrefix(flag, "--from=") }) {
			continue
		}
		to := len(one.arguments) - 1
		for _, from := range one.arguments[:to] {
			places[from] = one.arguments[to]
		}
	}
	return places
}

// environment is what ENV sets.
func environment(instructions []instruction) map[string]string {
	set := map[string]string{}
	for _, one := range all(instructions, "ENV") {
		for _, pair := range one.arguments {
			name, value, _ := strings.Cut(pair, "=")
			set[name] = value
		}
	}
	return set
}

func readCompose(t *testing.T) compose {
	t.Helper()
	written, err := os.ReadFile(filepath.Join(root, "deploy/compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file compose
	strict := yaml.NewDecoder(bytes.NewReader(written))
	strict.KnownFields(true)
	if err := strict.Decode(&file); err != nil {
		t.Fatal(err)
	}
	return file
}

func readContainer(t *testing.T, name string) []instruction {
	t.Helper()
	return containerFile(t, filepath.Join(root, "deploy", name+".Containerfile"))
}

func TestWhatTheComposeFileNamesIsThere(t *testing.T) {
	file := readCompose(t)
	ports := map[string]string{"grafana": "3000", "weir": "8088"}
	if len(file.Services) != len(ports) {
		t.Errorf("%d services", len(file.Services))
	}
	for name, service := range file.Services {
		if service.Build.Context != ".." || service.Build.Dockerfile != "deploy/"+name+".Containerfile" {
			t.Errorf("%s is built from %v", name, service.Build)
		}
		if _, err := os.Stat(filepath.Join(root, service.Build.Dockerfile)); err != nil {
			t.Error(err)
		}
		// Published for this machine alone: neither service asks strangers who they are.
		if expected := "127.0.0.1:" + ports[name] + ":" + ports[name]; !slices.Equal(service.Ports, []string{expected}) {
			t.Errorf("%s publishes %v, not %s", name, service.Ports, expected)
		}
		for _, volume := range service.Volumes {
			from := strings.Split(volume, ":")[0]
			if !strings.HasPrefix(from, ".") {
				if _, known := file.Volumes[from]; !known {
					t.Errorf("%s mounts the volume %s, which is not declared", name, from)
				}
			} else if _, err := os.Stat(filepath.Join(root, "deploy", from)); err != nil {
				t.Error(err)
			}
		}
	}
	grafana, weir := file.Services["grafana"], file.Services["weir"]
	data := environment(readContainer(t, "grafana"))["GF_PATHS_DATA"]
	if !slices.Equal(grafana.Volumes, []string{"grafana:" + data}) {
		t.Errorf("Grafana's volumes are %v; its database is at %s", grafana.Volumes, data)
	}
	command := all(readContainer(t, "weir"), "CMD")[0].arguments
	if !slices.Equal(weir.Volumes, []string{"./weir.toml:" + option(command, "--config") + ":ro"}) {
		t.Errorf("Weir's volumes are %v; it is started as %v", weir.Volumes, command)
	}
	if listen := option(command, "--listen"); listen != "0.0.0.0:"+ports["weir"] {
		t.Errorf("Weir listens on %s", listen)
	}
}

// option is the argument behind an option.
func option(command []string, name string) string {
	at := slices.Index(command, name)
	if at < 0 || at+1 == len(command) {
		return ""
	}
	return command[at+1]
}

func TestContainersAreBuiltFromWhatIsThere(t *testing.T) {
	for name, made := range map[string]string{"grafana": "dist", "weir": ""} {
		for from := range copied(readContainer(t, name)) {
			// What is made, and what nobody committed, is in no clone.
			kept, err := exec.Command("git", "-C", root, "ls-files", "--", from).Output()
			if err != nil {
				t.Fatal(err)
			}
			if len(kept) == 0 && from != made {
				t.Errorf("%s copies %s, which is not in the repository", name, from)
			}
		}
	}
	container := readContainer(t, "weir")
	cargo := exec.Command("cargo", "metadata", "--format-version", "1", "--no-deps", "--offline", "--locked")
	cargo.Dir = root
	described, err := cargo.Output()
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		WorkspaceRoot string `json:"workspace_root"`
		Packages      []struct {
			Name        string
			RustVersion string `json:"rust_version"`
			Targets     []struct {
				Path string `json:"src_path"`
			}
		}
	}
	if err := json.Unmarshal(described, &manifest); err != nil {
		t.Fatal(err)
	}
	// Cargo looks for every target of the manifest, whichever it builds.
	for _, one := range manifest.Packages {
		for _, target := range one.Targets {
			path, err := filepath.Rel(manifest.WorkspaceRoot, target.Path)
			if err != nil {
				t.Fatal(err)
			}
			if folder, _, _ := strings.Cut(path, "/"); copied(container)[folder] != folder {
				t.Errorf("the image is built without %s", path)
			}
		}
		if image := all(container, "FROM")[0].arguments[0]; !strings.Contains(image, "/rust:"+one.RustVersion+"-") {
			t.Errorf("%s is built by %s; it is for Rust %s", one.Name, image, one.RustVersion)
		}
	}
	for _, name := range []string{"Cargo.toml", "Cargo.lock"} {
		if copied(container)[name] != "./" {
			t.Errorf("the image is built without %s", name)
		}
	}
}

// TestTheProvisionedDataSourceLogsIn sets the variables that the compose file hands on, as Grafana does, and
// starts the plugin with what comes of them.
func TestTheProvisionedDataSourceLogsIn(t *testing.T) {
	const email, ours = "grafana@example.iam.gserviceaccount.com", "moz-fx-data-shared-prod"
	key := privateKey(t)
	given := map[string]string{"WEIR_PROJECT": ours, "WEIR_CLIENT_EMAIL": email, "WEIR_PRIVATE_KEY": key}
	written, err := os.ReadFile(filepath.Join(root, "provisioning/datasources/weir.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Datasources []struct {
			Type           string
			JSONData       map[string]any    `yaml:"jsonData"`
			SecureJSONData map[string]string `yaml:"secureJsonData"`
		}
	}
	if err := yaml.Unmarshal(written, &file); err != nil {
		t.Fatal(err)
	}
	provisioned := file.Datasources[0]
	if provisioned.Type != weir {
		t.Errorf("the data source is a %s", provisioned.Type)
	}
	asked := map[string]bool{}
	expand := func(value string) string {
		return os.Expand(value, func(name string) string {
			asked[name] = true
			return given[name]
		})
	}
	var subject string
	tokens := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		subject = issuer(t, request.FormValue("assertion"))
		writer.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(writer).Encode(map[string]any{"access_token": token, "token_type": "Bearer", "expires_in": 3600})
	}))
	t.Cleanup(tokens.Close)
	s := standIn(t, newBigQuery(t).url)
	delete(s.json, "authenticationType")
	delete(s.json, "defaultProject")
	for key, value := range provisioned.JSONData {
		if text, is := value.(string); is {
			value = expand(text)
		}
		s = s.with(key, value)
	}
	s = s.with("tokenUri", tokens.URL)
	s.secure = map[string]string{}
	for key, value := range provisioned.SecureJSONData {
		s.secure[key] = expand(value)
	}
	if health := launch(t).health(t, s); health.Status != pluginv2.CheckHealthResponse_OK {
		t.Errorf("health: %s", health.Message)
	}
	if subject != email || s.json["defaultProject"] != ours {
		t.Errorf("%q logs in for %v", subject, s.json["defaultProject"])
	}
	handed := readCompose(t).Services["grafana"].Environment
	for name := range handed {
		if !asked[name] || !strings.HasPrefix(handed[name], "${"+name+":?") {
			t.Errorf("the compose file hands %s on as %s, which nobody asks for", name, handed[name])
		}
		delete(asked, name)
	}
	if len(asked) > 0 {
		t.Errorf("the compose file does not hand %v on", asked)
	}
}

// issuer is who signed a login's assertion.
func issuer(t *testing.T, assertion string) string {
	t.Helper()
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		t.Errorf("%q is no assertion", assertion)
		return ""
	}
	claims, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		t.Error(err)
	}
	var said struct{ Iss string }
	if err := json.Unmarshal(claims, &said); err != nil {
		t.Error(err)
	}
	return said.Iss
}

func TestGrafanaFindsThePluginAndItsBoards(t *testing.T) {
	container := readContainer(t, "grafana")
	places := copied(container)
	if places["dist"] != "/var/lib/grafana/plugins/"+weir || places["provisioning"] != "/etc/grafana/provisioning" {
		t.Errorf("the image has %v", places)
	}
	set := environment(container)
	if set["GF_PLUGINS_ALLOW_LOADING_UNSIGNED_PLUGINS"] != weir {
		t.Errorf("the image sets %v", set)
	}
	// A volume on the database's folder must not hide the plugin.
	if strings.HasPrefix(places["dist"], set["GF_PATHS_DATA"]+"/") {
		t.Errorf("the plugin is under %s", set["GF_PATHS_DATA"])
	}
	// The backend is linked to glibc and libgcc_s, of which the plain image, on Alpine, has not both.
	if image := all(container, "FROM")[0].arguments[0]; !strings.HasSuffix(image, "-ubuntu") {
		t.Errorf("the plugin's process does not start in %s", image)
	}
	written, err := os.ReadFile(filepath.Join(root, "provisioning/dashboards/weir.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Providers []struct{ Options struct{ Path string } }
	}
	if err := yaml.Unmarshal(written, &file); err != nil {
		t.Fatal(err)
	}
	if path := file.Providers[0].Options.Path; path != places["dist"]+"/dashboards" {
		t.Errorf("boards are looked for at %s", path)
	}
}

// TestTheServedConfigurationIsWhatItSays starts `weir` as its container does, but on the loopback.
func TestTheServedConfigurationIsWhatItSays(t *testing.T) {
	container := readContainer(t, "weir")
	arguments := slices.Clone(all(container, "CMD")[0].arguments)
	address := freeAddress(t)
	arguments[slices.Index(arguments, "--config")+1] = filepath.Join(root, "deploy/weir.toml")
	arguments[slices.Index(arguments, "--listen")+1] = address
	weir := exec.Command(binary(t), arguments...)
	said := &transcript{}
	weir.Stderr = said
	if err := weir.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- weir.Wait() }()
	t.Cleanup(func() {
		_ = weir.Process.Signal(os.Interrupt)
		<-ended
	})
	eventually(t, "readiness", func() bool {
		if len(ended) > 0 {
			t.Fatalf("weir ended: %s", said)
		}
		answer, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	})
	if exposed := all(container, "EXPOSE")[0].arguments[0]; !strings.HasSuffix(option(all(container, "CMD")[0].arguments, "--listen"), ":"+exposed) {
		t.Errorf("the image exposes %s", exposed)
	}
}
