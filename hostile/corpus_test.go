package hostile

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

// full reports whether each case runs alone.
func full() bool { return os.Getenv("HOSTILE") == "full" }

// The host's memory limit, which it would detect by itself in a container. Its
// resident memory may be a fifth larger.
const (
	memory     = 512 << 20
	goMemory   = memory / 4 * 3
	inflight   = memory / 4
	mostMemory = memory + memory/5
)

// mostError is the largest description of one model by the API.
const mostError = 64 << 10

// hostileModel is a hostile model.
type hostileModel struct {
	name  string
	must  string   // what must happen, in words
	want  []string // parts of the reason for which it is not served; empty: it is served
	root  bool     // only root can make it
	drops func(t *testing.T, s *site, id string)
	// judge replaces want. It judges the API's description and returns what
	// happened.
	judge func(t *testing.T, s *site, id string, v *api.ModelVersion) string
	keep  bool // it stays for the host at the end
}

// site holds the host and the files of the cases.
type site struct {
	hosttest.Place
	*hosttest.Host
	secret   string // the contents of files that nobody may read
	outside  string // such a file in the host's working directory
	inside   string // such a file in the models directory
	others   string // such a file in another model's directory
	executed string // a directory in which a program that was executed leaves a file, as any user
}

// The models that must keep answering, whatever the others do. One is a process
// plugin, and of one rows are kept.
const (
	pluginBody   = `{"model_id": "plugin", "data": [1, 2]}`
	samplingBody = `{"model_id": "sampling", "data": {"f0": 8, "f1": 155, "f2": 62, "f3": 26, "f4": 495, "f5": 34, "f6": 0.543, "f7": 46, "card": 4111}}`
)

// newSite writes the good models and the files that hostile models try to read.
func newSite(t *testing.T) *site {
	t.Helper()
	p := hosttest.NewPlace(t)
	s := &site{Place: p, secret: fmt.Sprintf("SECRET-%d", time.Now().UnixNano()), outside: filepath.Join(p.Root, "secret"),
		inside: filepath.Join(p.Models, ".secret"), others: filepath.Join(p.Models, "good", "1.0.0", "secret"), executed: filepath.Join(p.Root, "executed")}
	hosttest.GoodModels(t, p)
	testkit.WriteFaulty(t, p.Models, "plugin", `"concurrency":4`, "")
	testkit.CopyModel(t, p.Models, "pima-lof", "sampling", "1.0.0", func(text string) string { return text + "unknown_features: ignore\n" })
	for _, file := range []string{s.outside, s.inside, s.others} {
		write(t, file, s.secret)
	}
	check(t, os.Mkdir(s.executed, 0o777), os.Chmod(s.executed, 0o777))
	return s
}

// start starts a host at the site.
func (s *site) start(t *testing.T, args ...string) {
	t.Helper()
	config := fmt.Sprintf("server: {samples: {size: 8, models: [sampling]}, limits: {inflight_bytes: %d}}\nlimits: {max: {bytes: 128MiB, memory: 256MiB}}\n"+
		"backends: {process: {enabled: true, user: %q, allow: [{path: %s}]}}\n", inflight, testkit.PluginUser(), filepath.Join(s.Models, "plugin"))
	s.Host = hosttest.Start(t, s.Place, hosttest.Options{Config: config, Args: append(args, "--request-timeout", "10m"), Env: []string{fmt.Sprintf("GOMEMLIMIT=%d", goMemory)}})
	s.Ready()
}

// needed returns the paths that a serving host opens besides its models' files: its
// own directories, its binary and libraries, and the kernel's files about this
// process and machine.
func (s *site) needed() []string {
	return []string{
		s.Models, s.State, s.Tmp, testkit.WASMCache(), hosttest.Binary(s.T), testkit.Library(), filepath.Join(s.Root, "log-*"),
		"/proc", "/sys/fs/cgroup", "/sys/devices", "/sys/kernel/mm", "/dev/null", "/dev/urandom",
		"/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/usr/lib/*/*.so*", "/lib/*/*.so*",
	}
}

// TestCorpus exposes one host to all hostile models and requests, and prints the
// table.
func TestCorpus(t *testing.T) {
	s := newSite(t)
	s.start(t)
	for _, id := range []string{"good", "graph", "plugin", "sampling"} {
		s.Serves(id)
	}
	secrets := watchSentinels(t, []string{s.outside, s.inside}, []string{s.others})
	opened := watchOpenings(t)
	tr := s.Traffic(hosttest.GoodBody, hosttest.GraphBody, pluginBody, samplingBody)
	tr.More(100)
	table := newTable(s.Cmd.Process.Pid)
	t.Cleanup(func() { table.print(t) })
	only := regexp.MustCompile(os.Getenv("HOSTILE_RUN"))
	for _, g := range groups() {
		t.Run(g.name, func(t *testing.T) {
			models := slices.DeleteFunc(g.models, func(m hostileModel) bool { return !only.MatchString(g.name + "/" + m.name) })
			for part := range slices.Chunk(models, map[bool]int{true: 1, false: 12}[full()]) {
				s.meet(t, table, g.name, part)
			}
		})
	}
	t.Run("requests", func(t *testing.T) { s.requests(t, table, only) })
	tr.End()
	tr.None(t)
	table.Notes = append(table.Notes, fmt.Sprintf("good requests beside all that: %v", &tr.Tally))
	if where := secrets.touched(t); len(where) > 0 {
		t.Errorf("files that nobody may open were: %v", where)
	}
	if opened != nil {
		others, all := opened.others(s.needed()), opened.count(t)
		table.Notes = append(table.Notes, fmt.Sprintf("%d files were opened by the host and its children, %d of them neither of a model nor needed", all, len(others)))
		if len(others) > 0 || all == 0 {
			t.Errorf("the host or its children opened %q", others)
		}
	}
	if strings.Contains(s.Log(), s.secret) {
		t.Error("the log holds what files that nobody may read hold")
	}
	if names, err := os.ReadDir(s.executed); err != nil || len(names) > 0 {
		t.Errorf("a program was executed that may not be: %v, %v", names, err)
	}
	s.Stop(hosttest.Hangs)
	t.Run("next host", func(t *testing.T) { s.next(t, table) })
}

// meet adds models and judges each.
func (s *site) meet(t *testing.T, table *table, group string, models []hostileModel) {
	var ids []string
	for _, m := range models {
		ids = append(ids, group+"-"+word.ReplaceAllString(m.name, "-"))
	}
	table.begin(t)
	for i, m := range models {
		if m.root && os.Geteuid() != 0 {
			continue
		}
		m.drops(t, s, ids[i])
	}
	for i, m := range models {
		t.Run(word.ReplaceAllString(m.name, "-"), func(t *testing.T) {
			if m.root && os.Geteuid() != 0 {
				t.Skip("only root can make it")
			}
			happened := m.outcome(t, s, ids[i])
			s.connectsToNobody(t)
			table.row(t, group+": "+m.name, m.must, happened)
			if !m.keep {
				check(t, os.RemoveAll(filepath.Join(s.Models, ids[i])))
			}
		})
	}
}

var word = regexp.MustCompile(`[^A-Za-z0-9]+`)

// outcome waits until the host has decided on a model, and judges the result.
func (m *hostileModel) outcome(t *testing.T, s *site, id string) string {
	t.Helper()
	v := s.decided(t, id)
	_, text := s.Send(http.MethodGet, "/api/v1/models/"+id, "")
	s.clean(t, text, false)
	switch {
	case m.judge != nil:
		return m.judge(t, s, id, v)
	case len(m.want) == 0:
		if v.Status != "loaded" {
			t.Errorf("it is %s: %s", v.Status, v.Error)
		}
		return "served"
	case v.Status == "loaded":
		t.Errorf("it is served, want %q", m.want)
	}
	for _, want := range m.want {
		if !strings.Contains(v.Error, want) {
			t.Errorf("it is %s: %.500s, want %q", v.Status, v.Error, want)
		}
	}
	return v.Status + ": " + strings.ReplaceAll(v.Error, s.Root, "")
}

// decided waits until a model is loaded or refused.
func (s *site) decided(t *testing.T, id string) (v *api.ModelVersion) {
	t.Helper()
	s.Eventually(id+" is loaded or refused", func() bool {
		v = s.Version(id)
		return v != nil && (v.Status == "loaded" || v.Status == "failed" && !strings.Contains(v.Error, "being written"))
	})
	return v
}

// connectsToNobody fails the test if the host has made a connection.
func (s *site) connectsToNobody(t *testing.T) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.Address)
	if to := outgoing(t, s.Cmd.Process.Pid, port); len(to) > 0 {
		t.Errorf("the host connects to others: %q", to)
	}
}

// clean fails the test if a text has secret contents or control characters or, if
// everybody may read it, paths of this machine.
func (s *site) clean(t *testing.T, text string, everybody bool) {
	t.Helper()
	if strings.Contains(text, s.secret) || everybody && strings.Contains(text, s.Root) {
		t.Errorf("it gives away what it may not: %.1000s", text)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)) }) {
		t.Errorf("it holds control characters: %.1000q", text)
	}
	if len(text) > mostError && !everybody {
		t.Errorf("%d bytes are said of one model", len(text))
	}
}

// next starts another host, in production mode, with all models that are left in the
// directory. Its clients are not operators.
func (s *site) next(t *testing.T, table *table) {
	s.start(t, "--env", "production")
	table.pid = s.Cmd.Process.Pid
	left, err := os.ReadDir(s.Models)
	check(t, err)
	for _, e := range left {
		if !strings.HasPrefix(e.Name(), ".") && s.Version(e.Name()) != nil {
			s.decided(t, e.Name())
		}
	}
	tr := s.Traffic(hosttest.GoodBody, hosttest.GraphBody, pluginBody, samplingBody)
	tr.More(100)
	tr.End()
	tr.None(t)
	for _, path := range []string{"/api/v1/models", "/ready", "/health"} {
		status, text := s.Send(http.MethodGet, path, "")
		if status != http.StatusOK {
			t.Errorf("%s: %d %.300s", path, status, text)
		}
		s.clean(t, text, true)
	}
	for _, e := range left {
		_, text := s.Send(http.MethodPost, "/api/v1/predict", fmt.Sprintf(`{"model_id": %q, "data": [1, 2]}`, e.Name()))
		s.clean(t, text, true)
	}
	table.row(t, fmt.Sprintf("a start in production on %d of these models at once", len(left)), "the good ones are served; nobody is told paths or contents of files", tr.String())
	s.Stop(hosttest.Hangs)
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	check(t, os.WriteFile(file, []byte(text), 0o600))
}
