package hostile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sentinels are files that hostile models try to read.
type sentinels struct {
	fd    int
	names map[int32]string
	seen  map[string]string // what was done to each file
}

// watchSentinels watches files that nobody may open, and files that nobody may read
// but that the host opens to find out where they are.
func watchSentinels(t *testing.T, closed, unread []string) *sentinels {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatalf("watching files: %v", err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	s := &sentinels{fd: fd, names: map[int32]string{}, seen: map[string]string{}}
	add := func(files []string, mask uint32) {
		for _, name := range files {
			id, err := unix.InotifyAddWatch(fd, name, mask)
			if err != nil {
				t.Fatalf("watching %s: %v", name, err)
			}
			s.names[int32(id)] = name
		}
	}
	add(closed, unix.IN_OPEN|unix.IN_ACCESS)
	add(unread, unix.IN_ACCESS)
	return s
}

// touched returns the files that were opened or read so far, and how.
func (s *sentinels) touched(t *testing.T) map[string]string {
	t.Helper()
	buffer := make([]byte, 64<<10)
	for {
		n, err := unix.Read(s.fd, buffer)
		if errors.Is(err, unix.EAGAIN) {
			return s.seen
		}
		if err != nil {
			t.Fatalf("reading what was done to files: %v", err)
		}
		for b := buffer[:n]; len(b) >= unix.SizeofInotifyEvent; {
			id, mask := int32(binary.NativeEndian.Uint32(b)), binary.NativeEndian.Uint32(b[4:])
			length := binary.NativeEndian.Uint32(b[12:])
			if mask&unix.IN_ACCESS != 0 {
				s.seen[s.names[id]] = "read"
			} else if mask&unix.IN_OPEN != 0 && s.seen[s.names[id]] == "" {
				s.seen[s.names[id]] = "opened"
			}
			b = b[unix.SizeofInotifyEvent+length:]
		}
	}
}

// openings are the files that processes other than the tests open in their
// namespaces.
type openings struct {
	file *os.File
	wg   sync.WaitGroup

	mu   sync.Mutex
	seen map[string]int // number of times, by path
	lost bool
}

// watchOpenings watches every mount. It returns nil unless this is root.
func watchOpenings(t *testing.T) *openings {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	// With O_NONBLOCK, checking a pipe does not wait for its other end.
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_NOTIF|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|unix.FAN_UNLIMITED_QUEUE,
		unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC|unix.O_NONBLOCK)
	if err != nil {
		t.Logf("cannot watch what is opened: %v", err)
		return nil
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		point := strings.Fields(line)[4]
		if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_MOUNT, unix.FAN_OPEN, unix.AT_FDCWD, point); err != nil && point == "/" {
			t.Fatalf("watching what is opened below %s: %v", point, err)
		}
	}
	o := &openings{file: os.NewFile(uintptr(fd), "fanotify"), seen: map[string]int{}}
	o.wg.Go(o.follow)
	t.Cleanup(o.stop)
	return o
}

// count returns how many files were opened. The test fails if some events were lost.
func (o *openings) count(t *testing.T) int {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lost {
		t.Error("files that were opened were missed")
	}
	return len(o.seen)
}

func (o *openings) stop() {
	_ = o.file.Close()
	o.wg.Wait()
}

func (o *openings) follow() {
	buffer := make([]byte, 64<<10)
	for {
		n, err := o.file.Read(buffer)
		if err != nil {
			return
		}
		for b := buffer[:n]; len(b) >= unix.FAN_EVENT_METADATA_LEN; {
			e := (*unix.FanotifyEventMetadata)(unsafe.Pointer(&b[0]))
			o.note(e)
			b = b[e.Event_len:]
		}
	}
}

func (o *openings) note(e *unix.FanotifyEventMetadata) {
	if e.Fd < 0 {
		o.mu.Lock()
		o.lost = o.lost || e.Mask&unix.FAN_Q_OVERFLOW != 0
		o.mu.Unlock()
		return
	}
	defer unix.Close(int(e.Fd))
	if int(e.Pid) == os.Getpid() || e.Pid == 0 { // the tests themselves, or processes outside this namespace
		return
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", e.Fd))
	if err != nil {
		path = err.Error()
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen[path]++
}

// others returns the opened files that are neither at nor below one of the given
// paths.
func (o *openings) others(needed []string) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.DeleteFunc(slices.Sorted(maps.Keys(o.seen)), func(path string) bool {
		return slices.ContainsFunc(needed, func(p string) bool {
			ok, err := filepath.Match(p, path)
			return path == p || strings.HasPrefix(path, strings.TrimSuffix(p, "/")+"/") || (ok && err == nil)
		})
	})
}
