package child_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/internal/child"
)

// attempts are what an attacker who controls the process may try.
var attempts = map[string]func(file string) error{
	"connect":    func(string) error { _, err := net.Dial("tcp", "127.0.0.1:1"); return err },
	"datagram":   func(string) error { _, err := net.Dial("udp", "127.0.0.1:1"); return err },
	"unix":       func(string) error { _, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); return err },
	"exec":       func(string) error { return syscall.Exec("/bin/true", []string{"true"}, nil) },
	"start":      func(string) error { return exec.Command("/bin/true").Run() },
	"ptrace":     func(string) error { return unix.PtraceAttach(os.Getppid()) },
	"memory":     func(string) error { _, err := unix.ProcessVMReadv(os.Getppid(), nil, nil, 0); return err },
	"mount":      func(string) error { return unix.Mount("none", "/", "tmpfs", 0, "") },
	"namespace":  func(string) error { return unix.Unshare(unix.CLONE_NEWUSER) },
	"keys":       func(string) error { _, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true); return err },
	"rings":      raw(unix.SYS_IO_URING_SETUP),
	"bpf":        raw(unix.SYS_BPF),
	"userfaults": raw(unix.SYS_USERFAULTFD),
	"perf":       raw(unix.SYS_PERF_EVENT_OPEN),

	"read":     func(string) error { _, err := os.ReadFile("/etc/passwd"); return err },
	"list":     func(string) error { _, err := os.ReadDir("/"); return err },
	"truncate": func(file string) error { return os.WriteFile(file, nil, 0o600) },
	"append":   func(file string) error { _, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0); return err },
	"create": func(file string) error {
		_, err := os.OpenFile(file+".new", os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
		return err
	},
	"rename":  func(file string) error { return os.Rename(file, file+".other") },
	"remove":  func(file string) error { return os.Remove(file) },
	"link":    func(file string) error { return os.Link(file, file+".other") },
	"kill":    func(string) error { return unix.Kill(os.Getppid(), unix.SIGCONT) },
	"signals": func(string) error { _, err := unix.FcntlInt(0, unix.F_SETOWN, os.Getppid()); return err },
	"fork": func(string) error {
		_, _, e := unix.RawSyscall(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0)
		return errnoOf(e)
	},
	"limits": func(string) error {
		return unix.Setrlimit(unix.RLIMIT_AS, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	},
	"arguments": func(string) error { return unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) },
}

func raw(number uintptr) func(string) error {
	return func(string) error {
		_, _, e := unix.Syscall(number, 0, 0, 0)
		return errnoOf(e)
	}
}

func errnoOf(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

const (
	attemptEnv = "ATTEMPT"
	fileEnv    = "FILE"
	withFiles  = "files" // a process that may write below some directories
)

// attempt makes one attempt, on a thread that was started before the process
// confined itself, and prints the result.
func attempt() error {
	name := os.Getenv(attemptEnv)
	confined, made := make(chan struct{}), make(chan error)
	go func() {
		runtime.LockOSThread()
		<-confined
		made <- attempts[name](os.Getenv(fileEnv))
	}()
	if _, err := child.LimitSelf(1<<30, time.Minute); err != nil {
		return err
	}
	if err := child.Confine(os.Getenv(withFiles) != ""); err != nil {
		return err
	}
	close(confined)
	var errno syscall.Errno
	err := <-made
	if err != nil && !errors.As(err, &errno) {
		return err
	}
	fmt.Printf("%d", errno)
	return nil
}

// TestConfined checks that all threads of a process that has confined itself can use
// only open files.
func TestConfined(t *testing.T) {
	has := child.Confined()
	if !has.Seccomp {
		t.Skip("this kernel or container has no filters of system calls")
	}
	inside, outside := t.TempDir(), t.TempDir()
	const killed = syscall.Errno(unix.SIGSYS) // stands for the signal
	for _, c := range []struct {
		files bool
		dir   string
		name  string
		want  syscall.Errno
	}{
		{false, outside, "connect", killed},
		{false, outside, "datagram", killed},
		{false, outside, "unix", killed},
		{false, outside, "exec", killed},
		{false, outside, "ptrace", killed},
		{false, outside, "memory", killed},
		{false, outside, "mount", killed},
		{false, outside, "namespace", killed},
		{false, outside, "keys", killed},
		{false, outside, "rings", killed},
		{false, outside, "bpf", killed},
		{false, outside, "userfaults", killed},
		{false, outside, "perf", killed},
		{false, outside, "start", unix.ENOENT},
		{false, outside, "read", unix.ENOENT},
		{false, outside, "list", unix.ENOENT},
		{false, outside, "truncate", unix.ENOENT},
		{false, outside, "append", unix.ENOENT},
		{false, outside, "create", unix.ENOENT},
		{false, outside, "rename", unix.ENOSYS},
		{false, outside, "remove", unix.ENOSYS},
		{false, outside, "link", unix.ENOSYS},
		{false, outside, "kill", unix.ENOSYS},
		{false, outside, "signals", unix.ENOSYS},
		{false, outside, "fork", unix.ENOSYS},
		{false, outside, "limits", unix.ENOSYS},
		{false, outside, "arguments", unix.ENOSYS},
		{true, inside, "read", unix.ENOENT},
		{true, inside, "truncate", unix.ENOENT},
		{true, inside, "append", unix.ENOENT},
		{true, inside, "create", 0},
		{true, inside, "rename", 0},
		{true, outside, "create", unix.EACCES},
		{true, outside, "rename", unix.EACCES},
		{true, outside, "connect", killed},
	} {
		t.Run(fmt.Sprintf("%s-%v", c.name, c.files), func(t *testing.T) {
			if c.want == unix.EACCES && !has.Landlock {
				t.Skip("this kernel or container has no Landlock")
			}
			file := filepath.Join(c.dir, "file")
			if err := os.WriteFile(file, []byte("kept"), 0o600); err != nil {
				t.Fatal(err)
			}
			job := child.Job{Role: "attempt", Wall: time.Hour, CPU: time.Minute, Env: []string{attemptEnv + "=" + c.name, fileEnv + "=" + file}}
			if c.files {
				job.Writes, job.Env = []string{inside}, append(job.Env, withFiles+"=1")
			}
			out, err := child.Run(t.Context(), job)
			var died *child.DiedError
			switch {
			case errors.As(err, &died):
				if c.want != killed || died.Cause != child.Forbidden || died.Cause.Surroundings() {
					t.Errorf("%v, %+v", err, died)
				}
			case err != nil || string(out) != fmt.Sprint(int(c.want)):
				t.Errorf("errno %s, %v; want %d", out, err, c.want)
			}
			if c.want != 0 {
				if kept, err := os.ReadFile(file); err != nil || string(kept) != "kept" {
					t.Errorf("the file is %q, %v", kept, err)
				}
			}
		})
	}
}

// TestStatus checks that the kernel reports all threads of a confined process as
// confined, and this process as unchanged.
func TestStatus(t *testing.T) {
	if !child.Confined().Seccomp {
		t.Skip("this kernel or container has no filters of system calls")
	}
	own := func() (states []string) {
		text, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "NoNewPrivs:") || strings.HasPrefix(line, "Seccomp") {
				states = append(states, line)
			}
		}
		return states
	}
	before := own()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe", "stay")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := child.Start(cmd); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", cmd.Process.Pid))
	if err != nil || len(files) < 3 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err == nil && (!strings.Contains(string(text), "NoNewPrivs:\t1\n") || !strings.Contains(string(text), "Seccomp:\t2\n")) {
			t.Errorf("%s: %s", file, text)
		}
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if after := own(); !slices.Equal(before, after) {
		t.Errorf("this process was %q and is %q", before, after)
	}
}

func stay() error {
	if err := child.Confine(false); err != nil {
		return err
	}
	fmt.Print("c")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// TestRestrictedContainer checks that if a container does not allow filters,
// processes run as before and Confined says so.
func TestRestrictedContainer(t *testing.T) {
	if !child.Confined().Seccomp {
		t.Skip("this kernel or container has no filters of system calls")
	}
	if out := run(t, child.Job{Role: "contained"}); out != "{Seccomp:false Landlock:false} echoed" {
		t.Error(out)
	}
}

// contained sets a filter like that of a strict container, and runs a process that
// tries to confine itself.
func contained() error {
	refuse := uint32(unix.SECCOMP_RET_ERRNO | unix.EPERM)
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 2, K: unix.SYS_SECCOMP},
		{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jt: 0, Jf: 2, K: unix.SYS_LANDLOCK_CREATE_RULESET},
		{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, Jt: 1, Jf: 0, K: unix.SYS_LANDLOCK_RESTRICT_SELF},
		{Code: unix.BPF_RET | unix.BPF_K, K: refuse},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if e != 0 {
		return e
	}
	fmt.Printf("%+v ", child.Confined())
	out, err := child.Run(context.Background(), child.Job{Role: "confined echo", Input: []byte("echoed"), Wall: time.Hour})
	fmt.Printf("%s", out)
	return err
}

func confinedEcho() error {
	if err := child.Confine(true); err != nil {
		return err
	}
	_, err := io.Copy(os.Stdout, os.Stdin)
	return err
}

// TestDescriptors checks that children do not inherit descriptors that the host has
// inherited beyond the standard streams.
func TestDescriptors(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	inherited := func() { // as if a parent of the host had left it open
		if _, err := unix.FcntlInt(file.Fd(), unix.F_SETFD, 0); err != nil {
			t.Fatal(err)
		}
	}
	inherited()
	if out := run(t, child.Job{Role: "descriptors"}); out == "" || strings.Contains(out, file.Name()) {
		t.Errorf("a process that limits itself has %q", out)
	}
	inherited()
	var out strings.Builder
	cmd := exec.Command("/proc/self/exe", "descriptors")
	cmd.Stdout, cmd.ExtraFiles = &out, []*os.File{file}
	if err := child.Start(cmd); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || strings.Count(out.String(), file.Name()) != 1 {
		t.Errorf("a process that is given the file has %q, %v", out.String(), err)
	}
}

// descriptors prints the open descriptors.
func descriptors() error {
	links, err := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		target, _ := os.Readlink(link)
		fmt.Println(target)
	}
	return err
}
