package hostgo

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// bigQuery stands between the plugin and the BigQuery stand-in: it counts jobs, cancellations and GETs, and
// can hold back the results of jobs.
type bigQuery struct {
	url string

	mutex         sync.Mutex
	jobs          []job
	cancellations []string
	gets          []string
	held          chan struct{}
	rewritten     func(authorization, sql string) string
	refused       int
}

// job is what was asked of jobs.insert or jobs.query.
type job struct {
	ID     string
	SQL    string
	Labels map[string]string
	// Authorization is the header that the job was sent with.
	Authorization string
}

var (
	resultsPath = regexp.MustCompile(`/projects/[^/]+/(queries|jobs)/[^/]+$`)
	cancelPath  = regexp.MustCompile(`/jobs/([^/]+)/cancel$`)
)

func newBigQuery(t *testing.T) *bigQuery {
	t.Helper()
	target, err := url.Parse(fakeREST(t))
	if err != nil {
		t.Fatalf("WEIR_FAKE_REST: %v", err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(target)
		},
		ErrorHandler: func(writer http.ResponseWriter, _ *http.Request, _ error) {
			writer.WriteHeader(http.StatusBadGateway)
		},
	}
	between := &bigQuery{}
	server := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		between.see(request)
		if status := between.refusal(); status != 0 {
			writer.Header().Set("Content-Type", "application/json")
			writer.WriteHeader(status)
			_, _ = io.WriteString(writer, `{"error": {"message": "Invalid Credentials", "status": "UNAUTHENTICATED"}}`)
			return
		}
		proxy.ServeHTTP(writer, request)
	}))
	t.Cleanup(func() {
		between.release()
		server.Close()
	})
	between.url = server.URL
	return between
}

func (b *bigQuery) see(request *http.Request) {
	if request.Method == http.MethodGet {
		b.mutex.Lock()
		b.gets = append(b.gets, request.URL.Path)
		b.mutex.Unlock()
	}
	switch {
	case request.Method == http.MethodPost && cancelPath.MatchString(request.URL.Path):
		b.mutex.Lock()
		b.cancellations = append(b.cancellations, cancelPath.FindStringSubmatch(request.URL.Path)[1])
		b.mutex.Unlock()
	case request.Method == http.MethodPost && strings.Contains(request.URL.Path, "/projects/"):
		b.seeJob(request)
	case request.Method == http.MethodGet && resultsPath.MatchString(request.URL.Path):
		b.mutex.Lock()
		held := b.held
		b.mutex.Unlock()
		if held != nil {
			select {
			case <-held:
			case <-request.Context().Done():
			}
		}
	}
}

func (b *bigQuery) seeJob(request *http.Request) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	var insert struct {
		JobReference  struct{ JobID string }
		Configuration struct {
			DryRun bool
			Labels map[string]string
			Query  struct{ Query string }
		}
		DryRun bool
		Query  string
		Labels map[string]string
	}
	if json.Unmarshal(body, &insert) != nil || insert.DryRun || insert.Configuration.DryRun {
		return
	}
	authorization := request.Header.Get("Authorization")
	b.rewriteJob(request, body, authorization)
	seen := job{
		ID:            insert.JobReference.JobID,
		SQL:           insert.Configuration.Query.Query + insert.Query,
		Labels:        insert.Configuration.Labels,
		Authorization: authorization,
	}
	if seen.Labels == nil {
		seen.Labels = insert.Labels
	}
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.jobs = append(b.jobs, seen)
}

// rewrite has the SQL of every job changed on its way, by the header that it was sent with.
func (b *bigQuery) rewrite(change func(authorization, sql string) string) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.rewritten = change
}

func (b *bigQuery) rewriteJob(request *http.Request, body []byte, authorization string) {
	b.mutex.Lock()
	change := b.rewritten
	b.mutex.Unlock()
	if change == nil {
		return
	}
	changed := []byte(change(authorization, string(body)))
	request.Body = io.NopCloser(bytes.NewReader(changed))
	request.ContentLength = int64(len(changed))
}

// refuse answers every request with this status from now on.
func (b *bigQuery) refuse(status int) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.refused = status
}

func (b *bigQuery) refusal() int {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.refused
}

// hold keeps the results of jobs back until release.
func (b *bigQuery) hold() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.held = make(chan struct{})
}

func (b *bigQuery) release() {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	if b.held != nil {
		close(b.held)
		b.held = nil
	}
}

func (b *bigQuery) seenJobs() []job {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return append([]job(nil), b.jobs...)
}

func (b *bigQuery) seenCancellations() []string {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return append([]string(nil), b.cancellations...)
}

// seenGets counts the GET requests whose path ends so.
func (b *bigQuery) seenGets(end string) int {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	count := 0
	for _, path := range b.gets {
		if strings.HasSuffix(path, end) {
			count++
		}
	}
	return count
}
