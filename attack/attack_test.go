package attack

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

func TestMain(m *testing.M) { hosttest.Main(m) }

// attack is one case: a request byte by byte, or a function.
type attack struct {
	name, must string
	// text is what is sent. $viewer, $operator, $admin and $own stand for keys, and
	// $own's sees only the model own.
	text  string
	token func(s *site) string // text has it as $token
	want  []int                // statuses of the answers in order
	says  string               // part of the last answer
	// run replaces text. It returns what happened.
	run func(t *testing.T, s *site) string
}

// group is a kind of attacks.
type group struct {
	name    string
	attacks []attack
}

// groups returns all cases. The last ones judge what the others have left behind.
func groups() []group {
	return []group{
		{"tokens", tokens()}, {"sources of keys", sources()}, {"keys", keys()}, {"roles", roles()}, {"smuggling", smuggling()}, {"forwarded", forwarded()},
		{"paths", paths()}, {"operators", operators()}, {"pages", pages()}, {"resources", resources()}, {"files", files()}, {"TLS", transport()}, {"records", records()},
	}
}

// site holds a host and what callers show it.
type site struct {
	hosttest.Place
	*hosttest.Host
	viewer, operator, admin, own, sampler string // keys
	keys, audit                           string // files
	operators                             string // address of the admin listener
	issuers                               *issuers
	secret                                []byte // by which an issuer signs
	sources                               atomic.Uint32
	slow                                  []*crowd
	secure                                *secure // another host, with TLS
}

const (
	memory     = 512 << 20
	mostMemory = memory + memory/5
	mostConns  = 400
	ownBody    = `{"model_id": "own", "data": ` + hosttest.Pima + `}`
)

// newSite writes models, keys and sources of keys.
func newSite(t *testing.T) *site {
	t.Helper()
	p := hosttest.NewPlace(t)
	hosttest.GoodModels(t, p)
	for _, id := range []string{"own", "other"} {
		testkit.CopyModel(t, p.Models, "ecod-c", id, "1.0.0", nil)
	}
	s := &site{Place: p, keys: filepath.Join(p.Root, "keys.yaml"), audit: filepath.Join(p.Root, "audit.log"), secret: []byte("a secret of more than thirty-two bytes, which nobody else knows")}
	write(t, filepath.Join(p.Root, "secret"), string(s.secret))
	s.viewer, s.operator, s.admin = s.key(t, "--role", "viewer"), s.key(t, "--role", "operator"), s.key(t, "--role", "admin", "--name", "boss")
	s.own = s.key(t, "--role", "viewer", "--models", "own")
	s.issuers = newIssuers(t, p.Root)
	return s
}

// key makes a key as an operator does.
func (s *site) key(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.command(t, append([]string{"key", "create", "--file", s.keys}, args...)...)
	check(t, err)
	return strings.TrimSpace(out)
}

// command runs a command of the binary.
func (s *site) command(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), hosttest.Binary(t), args...)
	cmd.Dir = s.Root
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%v: %w: %s", args, err, &said)
	}
	return string(out), err
}

// start starts a host at the site.
func (s *site) start(t *testing.T, server, more string) {
	t.Helper()
	s.operators = testkit.FreeAddress(t)
	config := fmt.Sprintf("server: {environment: production, origins: [\"https://friend.example\"], limits: {inflight_bytes: 64MiB, connections: %d}, samples: {size: 8}%s}\n", mostConns, server) +
		"admin: {listen: \"" + s.operators + "\"}\naudit: {file: " + s.audit + ", required: true}\n" +
		"auth:\n  keys: " + s.keys + "\n  roles: {sampler: [read, samples]}\n  jwt:\n" + s.issuers.config() + more
	s.Host = hosttest.Start(t, s.Place, hosttest.Options{Config: config, Key: s.viewer, Env: []string{fmt.Sprintf("GOMEMLIMIT=%d", memory/4*3)}})
	s.Eventually("the host is ready", func() bool { return s.Status("/ready") == http.StatusOK })
	for _, id := range []string{"good", "graph", "own", "other"} {
		s.Serves(id)
	}
}

// TestAttacks exposes one host to all attacks, and prints the table.
func TestAttacks(t *testing.T) {
	s := newSite(t)
	s.start(t, "", "")
	s.sampler = s.key(t, "--role", "viewer") // which the host must take up
	s.secure = startSecure(t, s)
	s.begin(t)
	tr := s.Traffic()
	tr.More(100)
	hosttest.ForgetPeak(t, s.Cmd.Process.Pid)
	table := &hosttest.Table{Columns: []string{"attack", "what must happen", "what happened"}}
	t.Cleanup(func() { table.Print(t, "ATTACK_TABLE") })
	only := regexp.MustCompile(os.Getenv("ATTACK_RUN"))
	for _, g := range groups() {
		t.Run(name(g.name), func(t *testing.T) {
			for _, a := range g.attacks {
				if !only.MatchString(g.name + "/" + a.name) {
					continue
				}
				t.Run(name(a.name), func(t *testing.T) { table.Row(t, g.name+": "+a.name, a.must, hosttest.Brief(s.meet(t, &a))) })
				s.MustLive()
			}
		})
	}
	tr.End()
	tr.None(t)
	table.Notes = append(table.Notes, "of the good requests beside all that none was lost")
	if peak := hosttest.Peak(t, s.Cmd.Process.Pid); peak > mostMemory {
		t.Errorf("the host used %s of memory", hosttest.MB(peak))
	}
	if s.Lives() {
		s.Stop(hosttest.Hangs)
	}
	for _, secret := range s.secrets() {
		for _, file := range s.written(t) {
			if text, err := os.ReadFile(file); err == nil && strings.Contains(string(text), secret) {
				t.Errorf("%s holds a secret: %.12s…", file, secret)
			}
		}
	}
	table.Notes = append(table.Notes, "nothing that the host has written (log, audit, state) holds a key, a secret or a token")
}

// meet lets the host meet one attack, and returns what happened.
func (s *site) meet(t *testing.T, a *attack) string {
	if a.run != nil {
		return a.run(t, s)
	}
	text := strings.NewReplacer("$viewer", s.viewer, "$operator", s.operator, "$admin", s.admin, "$own", s.own).Replace(a.text)
	if a.token != nil {
		text = strings.ReplaceAll(text, "$token", a.token(s))
	}
	got := s.raw(t, text)
	var statuses []int
	for _, answer := range got {
		statuses = append(statuses, answer.status)
	}
	if !slices.Equal(statuses, a.want) || a.says != "" && (len(got) == 0 || !strings.Contains(got[len(got)-1].text, a.says)) {
		t.Errorf("answered %v, want %v %q: %.500s", statuses, a.want, a.says, got)
	}
	if len(got) == 0 {
		return "closed"
	}
	return got[len(got)-1].String()
}

// written returns the files that the host has written.
func (s *site) written(t *testing.T) (all []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(s.Root, "log-*"))
	check(t, err)
	check(t, filepath.WalkDir(s.State, func(path string, _ os.DirEntry, err error) error { all = append(all, path); return err }))
	return append(all, s.audit, s.keys)
}

// secrets returns what nothing that is written may hold.
func (s *site) secrets() []string {
	all := []string{string(s.secret)}
	for _, key := range []string{s.viewer, s.operator, s.admin, s.own, s.sampler} {
		all = append(all, key[strings.LastIndex(key, "_")+1:])
	}
	_, claims, _ := strings.Cut(good(s, "looks"), ".")
	return append(all, claims[:20]) // which every token of the suite begins with
}

var word = regexp.MustCompile(`[^A-Za-z0-9]+`)

func name(text string) string { return word.ReplaceAllString(text, "-") }

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
