// Bridge stands where Grafana's server stands between a browser and the plugin: it starts the plugin as Grafana
// does, offers the routes that the front end calls, and serves files. What it answers is the plugin's, turned into
// JSON by Grafana's own SDK. There are no users, no stored boards and one data source, whose settings it keeps.
//
//	WEIR_BIN=… go run ./bridge --settings '{"authenticationType": …}' PATH=FOLDER…
//
// It prints its address, and ends when its standard input does.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"

	"github.com/grafana/grafana-plugin-sdk-go/backend/grpcplugin"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
)

type bridge struct {
	data        grpcplugin.DataClient
	diagnostics grpcplugin.DiagnosticsClient
	resource    grpcplugin.ResourceClient
	// old is whether frames are Arrow in base64, as before Grafana 8.
	old bool

	mutex    sync.Mutex
	settings json.RawMessage
	secrets  map[string]string
	updated  int64
}

func main() {
	settings := flag.String("settings", "{}", "jsonData of the data source")
	old := flag.Bool("old", false, "answer as Grafana did up to 7.5")
	flag.Parse()
	if err := run(*settings, *old, flag.Args()); err != nil {
		log.Fatal(err)
	}
}

func run(settings string, old bool, folders []string) error {
	client := goplugin.NewClient(&goplugin.ClientConfig{
		Cmd: exec.Command(os.Getenv("WEIR_BIN")),
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: grpcplugin.ProtocolVersion, MagicCookieKey: grpcplugin.MagicCookieKey,
			MagicCookieValue: grpcplugin.MagicCookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{grpcplugin.ProtocolVersion: {
			"diagnostics": &grpcplugin.DiagnosticsGRPCPlugin{},
			"resource":    &grpcplugin.ResourceGRPCPlugin{},
			"data":        &grpcplugin.DataGRPCPlugin{},
		}},
		Logger:           hclog.NewNullLogger(),
		Stderr:           os.Stderr,
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
	})
	defer client.Kill()
	b := &bridge{old: old, settings: json.RawMessage(settings), secrets: map[string]string{}, updated: 1}
	if err := b.dispense(client); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/ds/query", b.query)
	mux.HandleFunc("GET /api/datasources/uid/{uid}/health", b.health)
	mux.HandleFunc("PUT /api/datasources/uid/{uid}", b.save)
	mux.HandleFunc("/api/datasources/uid/{uid}/resources/{path...}", b.call)
	mux.HandleFunc("/api/datasources/1/resources/{path...}", b.call)
	for _, folder := range folders {
		path, from, found := strings.Cut(folder, "=")
		if !found {
			return fmt.Errorf("%s is not PATH=FOLDER", folder)
		}
		mux.Handle("GET "+path, http.StripPrefix(path, http.FileServer(http.Dir(from))))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("http://%s\n", listener.Addr())
	server := &http.Server{Handler: mux}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func (b *bridge) dispense(client *goplugin.Client) error {
	protocol, err := client.Client()
	if err != nil {
		return err
	}
	for name, set := range map[string]func(any) bool{
		"data":        func(raw any) (ok bool) { b.data, ok = raw.(grpcplugin.DataClient); return },
		"diagnostics": func(raw any) (ok bool) { b.diagnostics, ok = raw.(grpcplugin.DiagnosticsClient); return },
		"resource":    func(raw any) (ok bool) { b.resource, ok = raw.(grpcplugin.ResourceClient); return },
	} {
		raw, err := protocol.Dispense(name)
		if err != nil || !set(raw) {
			return fmt.Errorf("dispense %s: %T, %v", name, raw, err)
		}
	}
	return nil
}

func (b *bridge) context(uid string) *pluginv2.PluginContext {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return &pluginv2.PluginContext{
		OrgId: 1, PluginId: "weir-bigquery-datasource",
		User: &pluginv2.User{Login: "somebody", Name: "Somebody", Role: "Admin"},
		DataSourceInstanceSettings: &pluginv2.DataSourceInstanceSettings{
			Id: 1, Uid: uid, Name: "Weir", JsonData: b.settings, DecryptedSecureJsonData: b.secrets, LastUpdatedMS: b.updated,
		},
	}
}

// query takes the body of Grafana's /api/ds/query and gives its answer.
func (b *bridge) query(writer http.ResponseWriter, request *http.Request) {
	var body struct {
		From, To string
		Queries  []json.RawMessage
	}
	if err := json.NewDecoder(request.Body).Decode(&body); err != nil {
		problem(writer, http.StatusBadRequest, err)
		return
	}
	from, err := strconv.ParseInt(body.From, 10, 64)
	to, also := strconv.ParseInt(body.To, 10, 64)
	if err != nil || also != nil {
		problem(writer, http.StatusBadRequest, fmt.Errorf("from %q or to %q is not a time", body.From, body.To))
		return
	}
	asked := &pluginv2.QueryDataRequest{PluginContext: b.context("weir"), Headers: map[string]string{}}
	for name := range request.Header {
		asked.Headers["http_"+name] = request.Header.Get(name)
	}
	for _, query := range body.Queries {
		var envelope struct {
			RefID, QueryType          string
			IntervalMS, MaxDataPoints int64
		}
		if err := json.Unmarshal(query, &envelope); err != nil {
			problem(writer, http.StatusBadRequest, err)
			return
		}
		asked.Queries = append(asked.Queries, &pluginv2.DataQuery{
			RefId: envelope.RefID, QueryType: envelope.QueryType, IntervalMS: envelope.IntervalMS, MaxDataPoints: envelope.MaxDataPoints,
			Json: query, TimeRange: &pluginv2.TimeRange{FromEpochMS: from, ToEpochMS: to},
		})
	}
	answer, err := b.data.QueryData(request.Context(), asked)
	if err != nil {
		problem(writer, http.StatusInternalServerError, err)
		return
	}
	results := map[string]any{}
	for refID, response := range answer.Responses {
		frames, err := data.UnmarshalArrowFrames(response.Frames)
		if err != nil {
			problem(writer, http.StatusInternalServerError, err)
			return
		}
		result := map[string]any{"status": response.Status, "frames": frames}
		if b.old {
			result = map[string]any{"refId": refID, "dataframes": response.Frames}
		}
		if response.Error != "" {
			result["error"] = response.Error
		}
		results[refID] = result
	}
	reply(writer, http.StatusOK, map[string]any{"results": results})
}

func (b *bridge) health(writer http.ResponseWriter, request *http.Request) {
	answer, err := b.diagnostics.CheckHealth(request.Context(), &pluginv2.CheckHealthRequest{PluginContext: b.context(request.PathValue("uid"))})
	if err != nil {
		problem(writer, http.StatusInternalServerError, err)
		return
	}
	status := http.StatusOK
	if answer.Status != pluginv2.CheckHealthResponse_OK {
		status = http.StatusBadRequest
	}
	reply(writer, status, map[string]any{"status": answer.Status.String(), "message": answer.Message})
}

// save keeps the settings of the data source; its secrets are never given back.
func (b *bridge) save(writer http.ResponseWriter, request *http.Request) {
	var body struct {
		JSONData       json.RawMessage
		SecureJSONData map[string]string
	}
	if err := json.NewDecoder(request.Body).Decode(&body); err != nil {
		problem(writer, http.StatusBadRequest, err)
		return
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.settings, b.updated = body.JSONData, b.updated+1
	fields := map[string]bool{}
	for name, secret := range body.SecureJSONData {
		b.secrets[name] = secret
		fields[name] = secret != ""
	}
	reply(writer, http.StatusOK, map[string]any{"jsonData": b.settings, "secureJsonFields": fields})
}

func (b *bridge) call(writer http.ResponseWriter, request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		problem(writer, http.StatusBadRequest, err)
		return
	}
	path := request.PathValue("path")
	stream, err := b.resource.CallResource(request.Context(), &pluginv2.CallResourceRequest{
		PluginContext: b.context(request.PathValue("uid")), Method: request.Method, Path: path,
		Url: path + "?" + request.URL.RawQuery, Body: body,
	})
	if err != nil {
		problem(writer, http.StatusInternalServerError, err)
		return
	}
	for first := true; ; first = false {
		part, err := stream.Recv()
		if err == io.EOF {
			return
		}
		if err != nil {
			log.Print(err)
			return
		}
		if first {
			writer.Header().Set("Content-Type", "application/json")
			writer.WriteHeader(int(part.Code))
		}
		_, _ = writer.Write(part.Body)
	}
}

func reply(writer http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		problem(writer, http.StatusInternalServerError, err)
		return
	}
	writer.Header().Set("Content-Type", "application/json")
	writer.WriteHeader(status)
	_, _ = writer.Write(text)
}

func problem(writer http.ResponseWriter, status int, err error) {
	http.Error(writer, fmt.Sprintf("{\"message\": %q}", err.Error()), status)
}
