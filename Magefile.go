//go:build mage

// The build targets that Grafana people expect; run them with `go tool mage build`.
package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/magefile/mage/sh"
)

// Default is the target of a bare `mage`.
var Default = Build

const (
	dist       = "dist"
	executable = "gpx_weir"
)

// Build compiles the plugin for this machine, optimised, and puts it with its files into dist/.
func Build() error {
	return build("release", "--release")
}

// BuildDebug is Build without the optimisation, sharing its dependencies with the tests.
func BuildDebug() error {
	return build("debug")
}

// Clean removes dist/.
func Clean() error {
	return sh.Rm(dist)
}

func build(profile string, flags ...string) error {
	cargo, err := metadata()
	if err != nil {
		return err
	}
	if err := sh.RunV("cargo", append([]string{"build", "--locked", "--bin", "weir"}, flags...)...); err != nil {
		return err
	}
	end := ""
	if runtime.GOOS == "windows" {
		end = ".exe"
	}
	name := fmt.Sprintf("%s_%s_%s%s", executable, runtime.GOOS, runtime.GOARCH, end)
	if err := os.MkdirAll(dist, 0o755); err != nil {
		return err
	}
	if err := install(filepath.Join(cargo.TargetDirectory, profile, "weir"+end), filepath.Join(dist, name)); err != nil {
		return err
	}
	if err := stamp(cargo.version()); err != nil {
		return err
	}
	return files()
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
