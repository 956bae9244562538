package hostgo

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/grafana/grafana-plugin-sdk-go/genproto/pluginv2"
)

const (
	baseToken   = "ya29.of-the-base-account-that-nobody-may-see"
	targetToken = "ya29.of-the-target-account-that-nobody-may-see"
	stsToken    = "ya29.of-the-federated-workload-that-nobody-may-see"
	subject     = "eyJhbGciOiJub25lIn0.of-the-workload-that-nobody-may-see.c2ln"
	actAs       = "target@example.iam.gserviceaccount.com"
	nobody      = "SELECT 'nobody' AS who"
)

// google gives tokens as Google's services do, and says in its log whom it gave them to.
type google struct {
	url string

	mutex sync.Mutex
	asked []string
	// refuses is the status with which impersonation is refused, where it is not zero.
	refuses int
}

func newGoogle(t *testing.T) *google {
	t.Helper()
	g := &google{}
	server := httptest.NewServer(g)
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

func (g *google) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	g.mutex.Lock()
	g.asked = append(g.asked, request.URL.Path)
	refuses := g.refuses
	g.mutex.Unlock()
	answer := map[string]any{"token_type": "Bearer", "expires_in": 3600}
	bearer := request.Header.Get("Authorization")
	switch {
	case refuses != 0 && strings.HasSuffix(request.URL.Path, ":generateAccessToken"):
		writer.WriteHeader(refuses)
		answer = map[string]any{"error": map[string]any{"code": refuses, "message": "denied for " + bearer}}
	case request.URL.Path == "/token":
		answer["access_token"] = baseToken
	case request.URL.Path == "/v1/token" && strings.Contains(string(body), "subject_token="+subject):
		answer["access_token"] = stsToken
	case request.URL.Path == "/v1/projects/-/serviceAccounts/"+actAs+":generateAccessToken" &&
		(bearer == "Bearer "+baseToken || bearer == "Bearer "+stsToken):
		answer = map[string]any{
			"accessToken": targetToken, "expireTime": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		}
	default:
		writer.WriteHeader(http.StatusBadRequest)
		answer = map[string]any{"error": "invalid_request"}
	}
	writer.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(writer).Encode(answer)
}

func (g *google) refuse(status int) {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	g.refuses = status
}

func (g *google) seen() []string {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	return append([]string(nil), g.asked...)
}

// impersonating is a data source that acts as the target account.
func impersonating(t *testing.T, bq *bigQuery, g *google) source {
	t.Helper()
	s := standIn(t, bq.url).
		with("authenticationType", "jwt").
		with("clientEmail", "base@example.iam.gserviceaccount.com").
		with("tokenUri", g.url+"/token").
		with("usingImpersonation", true).
		with("serviceAccountToImpersonate", actAs).
		with("iamCredentialsEndpoint", g.url)
	s.secure = map[string]string{"privateKey": privateKey(t)}
	return s
}

// who is the one cell of an answer.
func who(t *testing.T, frame *data.Frame) string {
	t.Helper()
	value, ok := frame.Fields[0].ConcreteAt(0)
	if !ok {
		t.Fatal("the answer is NULL")
	}
	return fmt.Sprint(value)
}

// noSecret fails if a secret is in a log.
func noSecret(t *testing.T, log string, secrets ...string) {
	t.Helper()
	if !strings.Contains(log, `"@level":"TRACE"`) {
		t.Errorf("the log is not at trace level:\n%.2000s", log)
	}
	for _, secret := range secrets {
		if at := strings.Index(log, secret); at >= 0 {
			begin := strings.LastIndex(log[:at], "\n") + 1
			t.Errorf("a secret (%.20s…) is in the log, in a line that begins: %.300s", secret, log[begin:])
		}
	}
}

func TestAnImpersonatedAccountRunsTheJobs(t *testing.T) {
	h := launch(t, "WEIR_LOG=trace,weir=trace", "RUST_LOG=trace")
	bq, g := newBigQuery(t), newGoogle(t)
	s := impersonating(t, bq, g)
	if health := h.health(t, s); health.Status != pluginv2.CheckHealthResponse_OK {
		t.Fatalf("health: %s", health.Message)
	}
	for range 2 {
		one(t, h.query(t, s.request(t, nil, panel{refID: "A", sql: "SELECT 1 AS n", format: 1}))["A"])
	}
	jobs := bq.seenJobs()
	if len(jobs) != 1 || jobs[0].Authorization != "Bearer "+targetToken {
		t.Errorf("the jobs were sent as %v", jobs)
	}
	if asked := g.seen(); len(asked) != 2 {
		t.Errorf("tokens were asked for at %v", asked)
	}

	g.refuse(http.StatusForbidden)
	refused := s.with("queryPriority", "BATCH")
	health := h.health(t, refused)
	for _, part := range []string{"Service Account Token Creator", actAs} {
		if health.Status != pluginv2.CheckHealthResponse_ERROR || !strings.Contains(health.Message, part) {
			t.Errorf("health of a login that may not impersonate: %s", health.Message)
		}
	}
	if strings.Contains(health.Message, baseToken) {
		t.Errorf("the health message shows a token: %s", health.Message)
	}
	h.client.Kill()
	noSecret(t, h.stderr.String(), baseToken, targetToken)
}

func TestAWorkloadIsFederatedByItsCredentialsFile(t *testing.T) {
	h := launch(t, "WEIR_LOG=trace,weir=trace", "RUST_LOG=trace")
	bq, g := newBigQuery(t), newGoogle(t)
	folder := t.TempDir()
	credentials, err := json.Marshal(map[string]any{
		"type":                              "external_account",
		"audience":                          "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/w/providers/g",
		"subject_token_type":                "urn:ietf:params:oauth:token-type:jwt",
		"token_url":                         g.url + "/v1/token",
		"credential_source":                 map[string]any{"file": "subject"},
		"service_account_impersonation_url": g.url + "/v1/projects/-/serviceAccounts/" + actAs + ":generateAccessToken",
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"credentials.json": credentials, "subject": []byte(subject + "\n")} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := standIn(t, bq.url).
		with("authenticationType", "workloadIdentityFederation").
		with("privateKeyPath", filepath.Join(folder, "credentials.json"))
	one(t, h.query(t, s.request(t, nil, panel{refID: "A", sql: "SELECT 1 AS n", format: 1}))["A"])
	if jobs := bq.seenJobs(); len(jobs) != 1 || jobs[0].Authorization != "Bearer "+targetToken {
		t.Errorf("the jobs were sent as %v", jobs)
	}
	h.client.Kill()
	noSecret(t, h.stderr.String(), subject, stsToken, targetToken)
}

// TestForwardedLoginsNeverShareAnswers has two users ask the same SQL. The stand-in answers with the name
// of whoever's token the job carries.
func TestForwardedLoginsNeverShareAnswers(t *testing.T) {
	h := launch(t, "WEIR_LOG=trace,weir=trace", "RUST_LOG=trace")
	bq := newBigQuery(t)
	names := map[string]string{
		"Bearer ya29.token-of-ada-that-nobody-may-see":     "ada",
		"Bearer ya29.new-token-of-ada-that-nobody-may-see": "ada",
		"Bearer ya29.token-of-grace-that-nobody-may-see":   "grace",
	}
	bq.rewrite(func(authorization, sql string) string {
		return strings.ReplaceAll(sql, "nobody", names[authorization])
	})
	s := standIn(t, bq.url).with("authenticationType", "forwardOAuthIdentity").with("oauthPassThru", true)
	request := func(user, authorization string) *pluginv2.QueryDataRequest {
		headers := map[string]string{}
		if authorization != "" {
			headers["Authorization"] = authorization
		}
		request := s.request(t, headers, panel{refID: "A", sql: nobody, format: 1})
		request.PluginContext.User.Login = user
		return request
	}
	var group sync.WaitGroup
	for authorization, user := range maps.Clone(names) {
		group.Go(func() {
			for range 5 {
				response := h.query(t, request(user, authorization))["A"]
				if response.Error != "" {
					t.Errorf("%s: %s", user, response.Error)
				} else if answer := who(t, one(t, response)); answer != user {
					t.Errorf("%s got the answer of %s", user, answer)
				}
			}
		})
	}
	group.Wait()
	jobs := bq.seenJobs()
	if len(jobs) != 2 || jobs[0].ID == jobs[1].ID {
		t.Errorf("two users were %d jobs: %v", len(jobs), jobs)
	}

	for user, authorization := range map[string]string{"ada": "", "grace": "Basic dTpw"} {
		response := h.query(t, request(user, authorization))["A"]
		if response.Status != http.StatusUnauthorized || !strings.Contains(response.Error, "sign in") {
			t.Errorf("%s without a token: status %d: %s", user, response.Status, response.Error)
		}
	}
	bq.refuse(http.StatusUnauthorized)
	response := h.query(t, request("new", "Bearer ya29.revoked-that-nobody-may-see"))["A"]
	if response.Status != http.StatusUnauthorized || !strings.Contains(response.Error, "sign in to Grafana again") {
		t.Errorf("a revoked token: status %d: %s", response.Status, response.Error)
	}
	h.client.Kill()
	secrets := []string{"ya29.revoked-that-nobody-may-see"}
	for authorization := range names {
		secrets = append(secrets, strings.TrimPrefix(authorization, "Bearer "))
	}
	noSecret(t, h.stderr.String(), secrets...)
}

func TestAForwardedLoginReachesHealthAndResources(t *testing.T) {
	h := launch(t)
	bq := newBigQuery(t)
	bq.rewrite(func(authorization, sql string) string {
		return strings.ReplaceAll(sql, "nobody", strings.TrimPrefix(authorization, "Bearer token-of-"))
	})
	s := standIn(t, bq.url).with("authenticationType", "forwardOAuthIdentity").with("oauthPassThru", true)
	health := h.health(t, s)
	if health.Status != pluginv2.CheckHealthResponse_ERROR || !strings.Contains(health.Message, "oauthPassThru") {
		t.Errorf("health without a token: %s: %s", health.Status, health.Message)
	}
	h.headers = map[string]string{"Authorization": "Bearer token-of-ada"}
	if health := h.health(t, s); health.Status != pluginv2.CheckHealthResponse_OK {
		t.Errorf("health with a token: %s", health.Message)
	}
	code, body := h.call(t, s, "POST", "query", []byte(`{"sql": "`+nobody+`"}`))
	if code != http.StatusOK || !strings.Contains(string(body), `[["ada"]]`) {
		t.Errorf("resource with a token: %d: %s", code, body)
	}
	h.headers = nil
	if code, body := h.call(t, s, "POST", "query", []byte(`{"sql": "`+nobody+`"}`)); code != http.StatusUnauthorized {
		t.Errorf("resource without a token: %d: %s", code, body)
	}
}
