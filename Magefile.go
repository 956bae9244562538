//go:build mage

// The build targets that Grafana people expect; run them with `go tool mage build`.
package main

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/magefile/mage/mg"
	"github.com/magefile/mage/sh"
)

// Default is the target of a bare `mage`.
var Default = Build

const (
	dist       = "dist"
	executable = "gpx_weir"
	plugin     = "weir-bigquery-datasource"
)

// triples are the machines that Grafana runs on, by its names and by Rust's.
var triples = map[string]string{
	"linux_amd64":   "x86_64-unknown-linux-gnu",
	"linux_arm64":   "aarch64-unknown-linux-gnu",
	"darwin_amd64":  "x86_64-apple-darwin",
	"darwin_arm64":  "aarch64-apple-darwin",
	"windows_amd64": "x86_64-pc-windows-msvc",
}

// Build makes a complete dist/: the backend for this machine, optimised, the front end, and their files.
func Build() error {
	mg.Deps(Frontend)
	return build("release", "--release")
}

// BuildDebug is Build without the optimisation, sharing its dependencies with the tests.
func BuildDebug() error {
	mg.Deps(Frontend)
	return build("debug")
}

// BuildAll is Build for every machine whose Rust target is installed (rustup target add …).
func BuildAll() error {
	mg.Deps(Build)
	for machine, triple := range triples {
		folder, err := sh.Output("rustc", "--print", "target-libdir", "--target", triple)
		if _, missing := os.Stat(folder); err != nil || missing != nil || machine == runtime.GOOS+"_"+runtime.GOARCH {
			continue
		}
		if err := backend(machine, triple, "release", "--release", "--target", triple); err != nil {
			return fmt.Errorf("%s: %w", triple, err)
		}
	}
	return nil
}

// Frontend builds dist/module.js.
func Frontend() error {
	if _, err := os.Stat("frontend/node_modules"); err != nil {
		if err := sh.RunV("npm", "ci", "--prefix", "frontend", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
			return err
		}
	}
	return sh.RunV("npm", "run", "--prefix", "frontend", "build")
}

// Test runs all tests; `tests/run STEP…` runs some.
func Test() error {
	return sh.RunV("tests/run")
}

// Coverage tells which lines of the backend its own tests reach; it needs cargo-llvm-cov.
func Coverage() error {
	return sh.RunV("cargo", "llvm-cov", "--locked", "--workspace", "--html", "--output-dir", "target/coverage")
}

// Clean removes dist/.
func Clean() error {
	return sh.Rm(dist)
}

// Dist packs dist/ as Grafana installs it: a zip whose top folder is the plugin's id, and its checksum beside it.
func Dist() error {
	if err := complete(); err != nil {
		return err
	}
	cargo, err := metadata()
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%s.zip", plugin, cargo.version())
	path := filepath.Join(cargo.TargetDirectory, name)
	older, err := filepath.Glob(filepath.Join(cargo.TargetDirectory, plugin+"-*.zip*"))
	if err != nil {
		return err
	}
	for _, path := range older {
		if err := sh.Rm(path); err != nil {
			return err
		}
	}
	if err := pack(path); err != nil {
		return err
	}
	sum, err := checksum(path)
	if err != nil {
		return err
	}
	fmt.Println(path)
	return os.WriteFile(path+".sha256", []byte(sum+"  "+name+"\n"), 0o644)
}

func pack(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	archive := zip.NewWriter(file)
	err = filepath.WalkDir(dist, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return add(archive, path)
	})
	if err != nil {
		return err
	}
	return archive.Close()
}

// add puts a file of dist/ into the archive, with its mode: the backend must stay executable.
func add(archive *zip.Writer, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	header, err := zip.FileInfoHeader(info)
	if err != nil {
		return err
	}
	inside, err := filepath.Rel(dist, path)
	if err != nil {
		return err
	}
	header.Name, header.Method = plugin+"/"+filepath.ToSlash(inside), zip.Deflate
	writer, err := archive.CreateHeader(header)
	if err != nil {
		return err
	}
	reader, err := os.Open(path)
	if err != nil {
		return err
	}
	defer reader.Close()
	_, err = io.Copy(writer, reader)
	return err
}

func checksum(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	return fmt.Sprintf("%x", hash.Sum(nil)), err
}

func build(profile string, flags ...string) error {
	if err := backend(runtime.GOOS+"_"+runtime.GOARCH, "", profile, flags...); err != nil {
		return err
	}
	if err := Files(); err != nil {
		return err
	}
	return complete()
}

// backend compiles the plugin's executable for a machine; triple is its target, empty for this machine.
func backend(machine, triple, profile string, flags ...string) error {
	cargo, err := metadata()
	if err != nil {
		return err
	}
	if err := sh.RunV("cargo", append([]string{"build", "--locked", "--bin", "weir"}, flags...)...); err != nil {
		return err
	}
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	end := ""
	if strings.HasPrefix(machine, "windows") {
		end = ".exe"
	}
	built := filepath.Join(cargo.TargetDirectory, triple, profile, "weir"+end)
	return install(built, filepath.Join(dist, fmt.Sprintf("%s_%s%s", executable, machine, end)))
}

// Files puts everything into dist/ that is neither compiled nor bundled.
func Files() error {
	cargo, err := metadata()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	if err := stamp(cargo.version()); err != nil {
		return err
	}
	return files()
}

// complete tells whether dist/ has all that Grafana will look for.
func complete() error {
	text, err := os.ReadFile(filepath.Join(dist, "plugin.json"))
	if err != nil {
		return fmt.Errorf("dist/ is not complete; build it first: %w", err)
	}
	var described struct {
		ID, Executable string
		Info           struct {
			Logos       struct{ Small, Large string }
			Screenshots []struct{ Path string }
		}
		Includes []struct{ Path string }
	}
	if err := json.Unmarshal(text, &described); err != nil {
		return err
	}
	if described.ID != plugin || described.Executable != executable {
		return fmt.Errorf("plugin.json is for %s (%s), not for %s (%s)", described.ID, described.Executable, plugin, executable)
	}
	needed := []string{"module.js", "README.md", "CHANGELOG.md", "LICENSE", described.Info.Logos.Small, described.Info.Logos.Large}
	for _, screenshot := range described.Info.Screenshots {
		needed = append(needed, screenshot.Path)
	}
	for _, include := range described.Includes {
		needed = append(needed, include.Path)
	}
	for _, name := range needed {
		if _, err := os.Stat(filepath.Join(dist, name)); err != nil {
			return fmt.Errorf("dist/ is not complete: %w", err)
		}
	}
	executables, err := filepath.Glob(filepath.Join(dist, executable+"_*"))
	if err != nil {
		return err
	}
	if len(executables) == 0 {
		return fmt.Errorf("dist/ is not complete: no %s_*; build the backend", executable)
	}
	return nil
}

// install copies an executable beside its target and renames it, so that a running one is not disturbed.
func install(from, to string) error {
	if err := sh.Copy(to+".new", from); err != nil {
		return err
	}
	if err := os.Chmod(to+".new", 0o755); err != nil {
		return err
	}
	return os.Rename(to+".new", to)
}

// stamp writes plugin.json with the version and the day.
func stamp(version string) error {
	text, err := os.ReadFile("plugin.json")
	if err != nil {
		return err
	}
	stamps := strings.NewReplacer("%VERSION%", version, "%TODAY%", time.Now().UTC().Format(time.DateOnly))
	return os.WriteFile(filepath.Join(dist, "plugin.json"), []byte(stamps.Replace(string(text))), 0o644)
}

// files copies what plugin.json names, and what people read.
func files() error {
	for _, folder := range []string{"img", "dashboards"} {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			to := filepath.Join(dist, path)
			if entry.IsDir() {
				return os.MkdirAll(to, 0o755)
			}
			return sh.Copy(to, path)
		})
		if err != nil {
			return err
		}
	}
	for _, name := range []string{"README.md", "CHANGELOG.md", "LICENSE"} {
		if err := sh.Copy(filepath.Join(dist, name), name); err != nil {
			return err
		}
	}
	return nil
}

// cargoMetadata is what we read of `cargo metadata`.
type cargoMetadata struct {
	TargetDirectory string `json:"target_directory"`
	Packages        []struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	} `json:"packages"`
}

func metadata() (cargoMetadata, error) {
	var cargo cargoMetadata
	text, err := sh.Output("cargo", "metadata", "--format-version", "1", "--no-deps", "--locked")
	if err != nil {
		return cargo, err
	}
	return cargo, json.Unmarshal([]byte(text), &cargo)
}

func (cargo cargoMetadata) version() string {
	for _, crate := range cargo.Packages {
		if crate.Name == "weir" {
			return crate.Version
		}
	}
	return "0.0.0"
}
