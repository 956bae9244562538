package hostgo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend/grpcplugin"
)

// hostOf, when set, makes the test binary a host that starts the plugin, tells its process id, and
// waits to be killed.
const hostOf = "WEIR_TEST_HOST_OF"

func TestMain(m *testing.M) {
	if path := os.Getenv(hostOf); path != "" {
		client := newClient(path, io.Discard)
		if _, err := client.Client(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(client.ReattachConfig().Pid)
		select {}
	}
	os.Exit(m.Run())
}

func TestTheHandshakeIsAllOfStdout(t *testing.T) {
	cmd := exec.Command(binary(t))
	cmd.Env = append(os.Environ(),
		grpcplugin.MagicCookieKey+"="+grpcplugin.MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=2", "PLUGIN_CLIENT_CERT=offered")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("no handshake: %v", err)
	}
	if !regexp.MustCompile(`^1\|2\|tcp\|127\.0\.0\.1:\d+\|grpc\n$`).MatchString(line) {
		t.Errorf("handshake %q", line)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(lines)
	if err != nil || len(rest) != 0 {
		t.Errorf("after the handshake: %q, %v", rest, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestWithoutTheCookieItIsNoPlugin(t *testing.T) {
	for _, env := range [][]string{nil, {grpcplugin.MagicCookieKey + "=another"}} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		cmd := exec.CommandContext(ctx, binary(t))
		cmd.Env = append(os.Environ(), env...)
		output, err := cmd.Output()
		if len(output) != 0 {
			t.Errorf("%v: a handshake without a host: %q", env, output)
		}
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !strings.Contains(string(exit.Stderr), "Usage") {
			t.Errorf("%v: not told how it is used: %v", env, err)
		}
	}
}

func TestAnotherProtocolVersionIsRefused(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary(t))
	cmd.Env = append(os.Environ(), grpcplugin.MagicCookieKey+"="+grpcplugin.MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=1")
	output, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "protocol version") {
		t.Errorf("%v: %s", err, output)
	}
}

func TestTheEndComesInLessThanTwoSeconds(t *testing.T) {
	h := launch(t)
	bq := newBigQuery(t)
	s := standIn(t, bq.url)
	one(t, h.query(t, s.request(t, nil, panel{refID: "A", sql: "SELECT 1 AS n", format: 1}))["A"])
	if took := kill(h); took > time.Second {
		t.Errorf("idle: %s", took)
	}

	for name, env := range map[string][]string{
		"one door":  nil,
		"two doors": {"GF_PLUGIN_EXPORT_ADDRESS=" + freeAddress(t)},
	} {
		t.Run(name, func(t *testing.T) {
			h := launch(t, env...)
			bq := newBigQuery(t)
			bq.hold()
			s := standIn(t, bq.url)
			go func() {
				_, _ = h.data.QueryData(t.Context(), s.request(t, nil, panel{refID: "A", sql: busiest, format: 1}))
			}()
			eventually(t, "the job is sent", func() bool { return len(bq.seenJobs()) == 1 })
			for _, variable := range env {
				_, address, _ := strings.Cut(variable, "=")
				connection := stuckRequest(t, address)
				defer connection.Close()
			}
			// go-plugin kills after 2 s, so that less means that the process ended by itself.
			if took := kill(h); took >= 2*time.Second {
				t.Errorf("with a query under way: %s", took)
			}
			if cancelled := bq.seenCancellations(); len(cancelled) != 1 || cancelled[0] != bq.seenJobs()[0].ID {
				t.Errorf("the job under way was not cancelled: %v", cancelled)
			}
		})
	}
}

// freeAddress is a loopback address on which nobody listened a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// stuckRequest opens a request to the export API whose body does not end.
func stuckRequest(t *testing.T, address string) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatalf("the export API does not listen: %v", err)
	}
	_, err = fmt.Fprintf(connection, "POST /api/v1/query HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{", address)
	if err != nil {
		t.Fatal(err)
	}
	return connection
}

func kill(h *host) time.Duration {
	begin := time.Now()
	h.client.Kill()
	return time.Since(begin)
}

func TestTheProcessEndsWithItsHost(t *testing.T) {
	test, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(test)
	cmd.Env = append(os.Environ(), hostOf+"="+binary(t))
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the host did not start: %v", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the host: %s", line)
	}
	if !alive(pid) {
		t.Fatal("the plugin is not running")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, "the plugin ends", func() bool { return !alive(pid) })
}

// alive says whether a process runs; one that nobody has waited for yet does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, found := strings.Cut(string(stat), ") ")
	return !found || !strings.HasPrefix(rest, "Z")
}
