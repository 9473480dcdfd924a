package process_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// orphaning returns a plugin that starts 250 processes, each in its own session and
// with an empty environment. The duration that they sleep identifies them.
func orphaning(t testing.TB) (a backends.Artifact, mark string) {
	t.Helper()
	mark = fmt.Sprintf("9%d.%d", os.Getpid(), time.Now().UnixNano())
	return artifact(t, `"fault":"orphans","mark":"`+mark+`"`, xy+"limits: {load_timeout: 2m}\n"), mark
}

const orphans = 250

// sleeping returns the processes that sleep for the duration mark.
func sleeping(t testing.TB, mark string) (pids []int) {
	t.Helper()
	for _, file := range found(t, "/proc/[0-9]*/cmdline") {
		text, err := os.ReadFile(file)
		if err != nil || string(text) != "sleep\x00"+mark+"\x00" {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(file, "/")[2])
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// parent returns a process's parent, or 0 if the process is gone.
func parent(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	n, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return n
}

// supervisor returns the parent of the only plugin.
func supervisor(t testing.TB) int {
	t.Helper()
	pids := processes(t)
	if len(pids) != 1 {
		t.Fatalf("%d plugins", len(pids))
	}
	return parent(pids[0])
}

// TestOrphans checks that a plugin's descendants end with it, whatever their session
// and parent, however the plugin ends.
func TestOrphans(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, s sdk.Scorer){
		"it is closed": nil,
		"it is killed": func(t *testing.T, _ sdk.Scorer) { kill(t, syscall.SIGKILL) },
		"it crashes":   func(t *testing.T, s sdk.Scorer) { _, _ = score(t, s, -1001, 0) },
		"its supervisor is killed": func(t *testing.T, _ sdk.Scorer) {
			if err := syscall.Kill(supervisor(t), syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		},
		"its supervisor is stopped": func(t *testing.T, _ sdk.Scorer) {
			if err := syscall.Kill(supervisor(t), syscall.SIGSTOP); err != nil {
				t.Error(err)
			}
		},
		"the keeper is killed": func(t *testing.T, _ sdk.Scorer) {
			if err := syscall.Kill(parent(supervisor(t)), syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, mark := orphaning(t)
			b := backend(t, a, nil)
			s, err := b.Open(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, "all are there", func() bool { return len(sleeping(t, mark)) == orphans })
			first := map[int]bool{}
			for _, pid := range sleeping(t, mark) {
				first[pid] = true
			}
			if end != nil {
				end(t, s)
			}
			if strings.HasPrefix(name, "it ") && end != nil {
				testkit.Eventually(t, "the first are gone, and the next are there", func() bool {
					now := sleeping(t, mark)
					for _, pid := range now {
						if first[pid] {
							return false
						}
					}
					return len(now) == orphans
				})
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if name == "its supervisor is killed" { // the keeper ends them, and Close does not wait for it
				testkit.Eventually(t, "none is left", func() bool { return len(sleeping(t, mark)) == 0 })
			}
			if left := sleeping(t, mark); len(left) > 0 {
				t.Errorf("%d are left", len(left))
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestSignalsForAll checks that signals from a terminal or a service manager to all
// processes end neither a supervisor nor the keeper, and that the plugin handles
// them as usual.
func TestSignalsForAll(t *testing.T) {
	a := artifact(t, "", xy)
	s := open(t, backend(t, a, nil), a)
	before := processes(t)
	above := supervisor(t)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE} {
		for _, pid := range []int{above, parent(above)} {
			if err := syscall.Kill(pid, signal); err != nil {
				t.Error(err)
			}
		}
	}
	if got, err := score(t, s, 1, 2); err != nil || got[0] != 3 {
		t.Errorf("%v, %v", got, err)
	}
	if after := processes(t); fmt.Sprint(after) != fmt.Sprint(before) || supervisor(t) != above {
		t.Errorf("processes %v, then %v", before, after)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", before[0]))
	_, mask, found := strings.Cut(string(status), "SigIgn:\t")
	if err != nil || !found {
		t.Fatalf("%s, %v", status, err)
	}
	ignored, err := strconv.ParseUint(mask[:16], 16, 64) // the test may have been started with others ignored
	if err != nil {
		t.Fatal(err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE} {
		if ignored&(1<<(signal-1)) != 0 {
			t.Errorf("the plugin ignores the signal %v", signal)
		}
	}
}

// hostEnv names the variable that turns this test binary into a host that serves a
// plugin.
const hostEnv = "PROCESS_TEST_HOST"

// TestHostProcess is the host process of the tests below.
func TestHostProcess(t *testing.T) {
	dir := os.Getenv(hostEnv)
	if dir == "" {
		return
	}
	plugin, err := os.ReadFile(filepath.Join(dir, "plugin"))
	if err != nil {
		t.Fatal(err)
	}
	settings, err := os.ReadFile(filepath.Join(dir, "plugin.json"))
	if err != nil {
		t.Fatal(err)
	}
	a := backends.Artifact{
		Manifest: decode(t, "artifact: plugin\n"+xy+"limits: {load_timeout: 2m}\n"), Bytes: plugin, Dir: dir,
		Files: map[string][]byte{"plugin.json": settings},
	}
	if _, err := testkit.Processes(t, dir, nil).Open(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	fmt.Println("\nserving")
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // until this process or the test is killed
}

// startHost starts a host with a plugin. The host inherits TMPDIR.
func startHost(t *testing.T, a backends.Artifact) *exec.Cmd {
	t.Helper()
	for name, data := range map[string][]byte{"plugin": a.Bytes, "plugin.json": a.Files["plugin.json"]} {
		if err := os.WriteFile(filepath.Join(a.Dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHostProcess$")
	cmd.Env = append(os.Environ(), hostEnv+"="+a.Dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if lines.Text() == "serving" {
			return cmd
		}
		t.Log(lines.Text())
	}
	t.Fatal("the host does not serve")
	return nil
}

// TestHostKilled checks that a killed host leaves nothing, even if the keeper or the
// supervisor is killed at the same time.
func TestHostKilled(t *testing.T) {
	shortTemp(t)
	for name, which := range map[string]func(host, keeper, supervisor int) []int{
		"alone":               func(host, _, _ int) []int { return []int{host} },
		"with the keeper":     func(host, keeper, _ int) []int { return []int{host, keeper} },
		"with the supervisor": func(host, _, supervisor int) []int { return []int{supervisor, host} },
	} {
		t.Run(name, func(t *testing.T) {
			a, mark := orphaning(t)
			host := startHost(t, a).Process.Pid
			testkit.Eventually(t, "all are there", func() bool { return len(sleeping(t, mark)) == orphans })
			above := parent(sleeping(t, mark)[0])
			for _, pid := range which(host, parent(above), above) {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			testkit.Eventually(t, "none is left", func() bool { return len(sleeping(t, mark)) == 0 && len(pluginsOf(t, host)) == 0 })
			if name == "with the keeper" {
				b := testkit.Processes(t, a.Dir, nil) // cleans up
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}
			testkit.Eventually(t, "its directory is gone", func() bool { return len(found(t, filepath.Join(os.TempDir(), "pynomaly-process-*"))) == 0 })
		})
	}
}

// TestStrays checks that if all helpers are killed with the host, the next host ends
// the processes that have a plugin's environment.
func TestStrays(t *testing.T) {
	shortTemp(t)
	a := artifact(t, `"fault":"children"`, xy)
	cmd := startHost(t, a)
	host := cmd.Process.Pid
	testkit.Eventually(t, "the plugin has a child", func() bool { return len(pluginsOf(t, host)) == 2 })
	plugins := pluginsOf(t, host)
	above := parent(min(plugins[0], plugins[1]))
	for _, pid := range []int{parent(above), above, host} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	_ = cmd.Wait() // its files are locked until then
	b := testkit.Processes(t, a.Dir, nil)
	testkit.Eventually(t, "nothing is left", func() bool { return len(pluginsOf(t, host)) == 0 })
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if left := found(t, filepath.Join(os.TempDir(), "pynomaly-process-*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// shortTemp sets TMPDIR to a new directory with a short path: the length of socket
// names is limited.
func shortTemp(t *testing.T) {
	t.Helper()
	tmp, err := os.MkdirTemp("/tmp", "p")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", tmp)
	t.Cleanup(func() {
		if err := os.RemoveAll(tmp); err != nil {
			t.Error(err)
		}
	})
}

// TestForkBombs checks that a plugin with too many processes is ended with all of
// them. It must not affect another plugin of the same user, or one that starts
// meanwhile.
func TestForkBombs(t *testing.T) {
	for name, row := range map[string]float64{"children": -1004, "sessions": -1010} {
		t.Run(name, func(t *testing.T) {
			good := artifact(t, "", xy)
			b := backend(t, good, nil)
			beside := open(t, b, good)
			a := artifact(t, `"concurrency":1`, xy+"limits: {memory: 4GiB, timeout: 1m}\n")
			s := open(t, backend(t, a, nil), a)
			ended := make(chan error, 1)
			go func() { _, err := score(t, s, row, 0); ended <- err }()
			for answered := 0; ; answered++ {
				if got, err := score(t, beside, float64(answered), 2); err != nil || got[0] != float64(answered+2) {
					t.Errorf("the plugin beside it: %v, %v", got, err)
				}
				if answered%50 == 0 {
					other, err := b.Open(t.Context(), good)
					if err != nil {
						t.Fatalf("a plugin that is started meanwhile: %v", err)
					}
					if err := other.Close(); err != nil {
						t.Error(err)
					}
				}
				select {
				case err := <-ended:
					var down *backends.DownError
					if !errors.As(err, &down) || !strings.Contains(down.Reason, "it had more than ") || !strings.Contains(down.Reason, " processes") {
						t.Errorf("the bomb ended with %v", err)
					}
					testkit.Eventually(t, "its processes are gone, and it serves again", func() bool {
						got, err := score(t, s, 1, 2)
						return err == nil && got[0] == 3 && len(processes(t)) == 2
					})
					return
				default:
				}
			}
		})
	}
}
