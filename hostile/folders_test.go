package hostile

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// folders returns models with a good graph in odd folders.
func folders() []hostileModel {
	return slices.Concat(largeFiles(), links(), oddFiles(), movingFolders())
}

// odd returns a model with a good graph. change changes its folder before the host
// sees it.
func odd(name, must string, change func(t *testing.T, s *site, dir string), want ...string) hostileModel {
	return hostileModel{name: name, must: must, want: want, keep: true, drops: func(t *testing.T, s *site, id string) {
		t.Helper()
		dropGraph(t, s, "."+id, manifestOf(id, "")) // the host ignores this name
		dir := s.dirOf("." + id)
		change(t, s, dir)
		check(t, os.Rename(filepath.Dir(dir), filepath.Dir(s.dirOf(id))))
	}}
}

// artifact returns a model that has something else in place of the graph.
func artifact(name, must string, make func(t *testing.T, s *site, file string), want ...string) hostileModel {
	return odd(name, must, func(t *testing.T, s *site, dir string) {
		file := filepath.Join(dir, "model.onnx")
		check(t, os.Remove(file))
		make(t, s, file)
	}, want...)
}

func linkTo(target func(s *site) string) func(t *testing.T, s *site, file string) {
	return func(t *testing.T, s *site, file string) { check(t, os.Symlink(target(s), file)) }
}

func sparse(size int64) func(t *testing.T, s *site, file string) {
	return func(t *testing.T, _ *site, file string) {
		write(t, file, "")
		check(t, os.Truncate(file, size))
	}
}

const unread = "refused unread"

// largeFiles returns models with files that are too large to read.
func largeFiles() []hostileModel {
	return []hostileModel{
		odd("twenty hard links to a sparse file", "refused: all are counted", func(t *testing.T, s *site, dir string) {
			const size = 16 << 20
			sparse(size)(t, s, filepath.Join(dir, "f0"))
			text := ""
			for i := range 20 {
				if i > 0 {
					check(t, os.Link(filepath.Join(dir, "f0"), filepath.Join(dir, fmt.Sprint("f", i))))
				}
				text += fmt.Sprintf("  f%d: sha256:%x\n", i, sha256.Sum256(make([]byte, size)))
			}
			appendTo(t, filepath.Join(dir, "model.yaml"), "files:\n"+text)
		}, "limits.max.bytes"),
		artifact("a sparse artifact of 900 MB", unread, sparse(900e6), "limits.max.bytes"),
		artifact("a sparse artifact of 1 TiB", unread, sparse(1<<40), "at most 1073741824 are read"),
		odd("a sparse manifest of 1 TiB", unread, func(t *testing.T, s *site, dir string) {
			check(t, os.Remove(filepath.Join(dir, "model.yaml")))
			sparse(1<<40)(t, s, filepath.Join(dir, "model.yaml"))
		}, "at most 1048576 are read"),
	}
}

// links returns models with links to places that a model may not read.
func links() []hostileModel {
	return []hostileModel{
		artifact("a link to a file outside", unread, linkTo(func(s *site) string { return "../../../secret" }), "leads outside the models directory"),
		artifact("a link to an absolute name", unread, linkTo(func(s *site) string { return s.outside }), "leads outside the models directory"),
		artifact("a link to /dev/zero", unread, linkTo(func(*site) string { return "/dev/zero" }), "leads outside the models directory"),
		artifact("a link to another model's file", unread, linkTo(func(*site) string { return "../../good/1.0.0/secret" }), "a file of another model"),
		odd("a directory that is a link to /", unread, func(t *testing.T, s *site, dir string) {
			check(t, os.Symlink("/", filepath.Join(dir, "up")))
			appendTo(t, filepath.Join(dir, "model.yaml"), fmt.Sprintf("files: {up%s: 'sha256:%x'}\n", s.outside, sha256.Sum256([]byte(s.secret))))
		}, "leads outside the models directory"),
		odd("a directory that is a link to another model", unread, func(t *testing.T, s *site, dir string) {
			check(t, os.Symlink("../../good", filepath.Join(dir, "up")))
			appendTo(t, filepath.Join(dir, "model.yaml"), fmt.Sprintf("files: {up/1.0.0/secret: 'sha256:%x'}\n", sha256.Sum256([]byte(s.secret))))
		}, "a file of another model"),
		artifact("a link to itself", unread, linkTo(func(*site) string { return "model.onnx" }), "too many levels of symbolic links"),
	}
}

// oddFiles returns models with special files or odd names.
func oddFiles() []hostileModel {
	device := artifact("a device for an artifact", unread, func(t *testing.T, _ *site, file string) {
		check(t, unix.Mknod(file, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5)))) // as /dev/zero
	}, "is not a regular file")
	device.root = true
	return []hostileModel{
		artifact("a pipe for an artifact", unread, func(t *testing.T, _ *site, file string) { check(t, unix.Mkfifo(file, 0o666)) }, "is not a regular file"),
		odd("a pipe for a manifest", unread, func(t *testing.T, _ *site, dir string) {
			check(t, os.Remove(filepath.Join(dir, "model.yaml")), unix.Mkfifo(filepath.Join(dir, "model.yaml"), 0o666))
		}, "has no model.yaml"),
		artifact("a socket for an artifact", unread, func(t *testing.T, s *site, file string) {
			ln, err := net.Listen("unix", filepath.Join(s.Root, "socket"))
			check(t, err)
			ln.(*net.UnixListener).SetUnlinkOnClose(false)
			check(t, ln.Close(), os.Rename(filepath.Join(s.Root, "socket"), file))
		}, "no such device or address"),
		device,
		artifact("a directory for an artifact", unread, func(t *testing.T, _ *site, file string) { check(t, os.Mkdir(file, 0o755)) }, "is not a regular file"),
		odd("directories in 300 directories", "served; what is deep is not looked at", func(t *testing.T, _ *site, dir string) {
			check(t, os.MkdirAll(filepath.Join(dir, strings.Repeat("d/", 300)), 0o755))
		}),
		odd("2,000 files", unread, func(t *testing.T, _ *site, dir string) {
			for i := range 2000 {
				write(t, filepath.Join(dir, fmt.Sprint("file", i)), "")
			}
		}, "holds more than 1000 files"),
		odd("a file whose name holds escapes", "served; it is passed over", func(t *testing.T, _ *site, dir string) {
			write(t, filepath.Join(dir, "\x1b]0;owned\a\xff"), "")
		}),
		odd("a version whose name holds escapes", "refused; what is sent holds none of them", func(t *testing.T, _ *site, dir string) {
			check(t, os.Rename(dir, filepath.Join(filepath.Dir(dir), "1.0.0\x1b]0;owned\a\xff")))
		}, "is not named by a semantic version"),
		odd("another digest than the manifest's", "refused", func(t *testing.T, _ *site, dir string) {
			appendTo(t, filepath.Join(dir, "model.yaml"), "digest: sha256:"+strings.Repeat("0", 64)+"\n")
		}, "the file changed or is damaged"),
	}
}

func appendTo(t *testing.T, file, text string) {
	t.Helper()
	data, err := os.ReadFile(file)
	check(t, err)
	write(t, file, string(data)+text)
}

// movingFolders returns models whose files a script changes while the host reads
// them.
func movingFolders() []hostileModel {
	return []hostileModel{
		{
			name: "exchanged for a link to a trusted folder while it loads", must: "its program never runs",
			drops: func(t *testing.T, s *site, id string) {
				text := "#!/bin/sh\ntouch " + filepath.Join(s.executed, "$$") + "\n" + strings.Repeat("#", 1<<20)
				testkit.WriteModel(t, s.Models, id, map[string][]byte{"run": []byte(text), "model.yaml": []byte(manifestOf(id, "backend: process\nartifact: run\nfeatures: [{name: a, dtype: float64}]\n"))})
				check(t, os.Symlink(filepath.Join("..", "plugin", "1.0.0"), filepath.Join(s.Models, id, ".swap")))
			},
			judge: func(t *testing.T, s *site, id string, _ *api.ModelVersion) string { return exchanged(t, s, id) },
		},
		{
			name: "a graph exchanged for a hostile one while it loads", must: "answers are the good graph's, or there are none",
			drops: func(t *testing.T, s *site, id string) {
				dropGraph(t, s, id, manifestOf(id, ""))
				data, err := os.ReadFile(filepath.Join(testkit.Root(), "backends", "onnx", "testdata", "hostile", "fold-many.onnx"))
				check(t, err)
				write(t, filepath.Join(s.Models, id, ".other"), string(data))
			},
			judge: func(t *testing.T, s *site, id string, _ *api.ModelVersion) string { return replaced(t, s, id) },
		},
		{
			name: "a file that grows while it is read", must: "refused; no more of it is read than a model may have",
			drops: func(t *testing.T, s *site, id string) {
				write(t, filepath.Join(s.Models, ".growing"), "")
				check(t, os.Truncate(filepath.Join(s.Models, ".growing"), grows))
				testkit.WriteModel(t, s.Models, id, map[string][]byte{"model.yaml": []byte(manifestOf(id, ""))})
				check(t, os.Rename(filepath.Join(s.Models, ".growing"), filepath.Join(s.dirOf(id), "model.onnx")))
			},
			judge: func(t *testing.T, s *site, id string, _ *api.ModelVersion) string { return grown(t, s, id) },
		},
	}
}

// script repeats an action until the returned function is called.
func script(t *testing.T, do func() error) (end func()) {
	t.Helper()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := do(); err != nil {
				t.Errorf("the script: %v", err)
				return
			}
		}
	})
	return sync.OnceFunc(func() { close(stop); wg.Wait() })
}

// grows is the size of a file before it grows. limits.max.bytes is 128 MiB.
const grows = 100 << 20

// grown makes the host load a file repeatedly that grows beyond the limit.
func grown(t *testing.T, s *site, id string) string {
	t.Helper()
	file := filepath.Join(s.dirOf(id), "model.onnx")
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	size := int64(grows)
	end := script(t, func() error {
		<-pace.C
		if size += 1 << 20; size > 2*grows {
			size = grows
		}
		return os.Truncate(file, size)
	})
	defer end()
	refusals := map[string]int{}
	for range 10 {
		status, text := s.Send(http.MethodPost, "/api/v1/models/"+id+"/load", "")
		if status == http.StatusOK {
			t.Errorf("it is served: %s", text)
		}
		for _, why := range []string{"grew over", "limits.max.bytes", "being written", "checking the graph"} {
			if strings.Contains(text, why) {
				refusals[why]++
			}
		}
	}
	end()
	return fmt.Sprintf("10 loads refused: %v", refusals)
}

// exchanged makes the host load a folder repeatedly that is being swapped with a
// link as fast as possible.
func exchanged(t *testing.T, s *site, id string) string {
	t.Helper()
	folder, link := s.dirOf(id), filepath.Join(s.Models, id, ".swap")
	swaps := 0
	end := script(t, func() error {
		swaps++
		return unix.Renameat2(unix.AT_FDCWD, folder, unix.AT_FDCWD, link, unix.RENAME_EXCHANGE)
	})
	defer end()
	const loads = 30
	for range loads {
		status, text := s.Send(http.MethodPost, "/api/v1/models/"+id+"/load", "")
		if status == http.StatusOK {
			t.Errorf("it is served: %s", text)
		}
	}
	end()
	return fmt.Sprintf("%d loads refused while it was exchanged %d times", loads, swaps)
}

// replaced sends requests to a model whose graph is being swapped with a hostile
// one.
func replaced(t *testing.T, s *site, id string) string {
	t.Helper()
	graph, other := filepath.Join(s.dirOf(id), "model.onnx"), filepath.Join(s.Models, id, ".other")
	swaps := 0
	pace := time.NewTicker(30 * time.Millisecond) // slow enough for some loads to find a single graph
	defer pace.Stop()
	end := script(t, func() error {
		<-pace.C
		swaps++
		return unix.Renameat2(unix.AT_FDCWD, graph, unix.AT_FDCWD, other, unix.RENAME_EXCHANGE)
	})
	defer end()
	answers, scores := map[int]int{}, map[string]int{}
	for range 30 {
		_, _ = s.Send(http.MethodDelete, "/api/v1/models/"+id+"/unload", "")
		_, _ = s.Send(http.MethodPost, "/api/v1/models/"+id+"/load", "")
		status, text := s.Send(http.MethodPost, "/api/v1/predict", `{"model_id": "`+id+`", "data": [0.7311828, 0.0035660376, 0.13757116, 0.25509346, 0.37558687, 0.18044262]}`)
		answers[status]++
		if status == http.StatusOK {
			_, score, _ := strings.Cut(text, `"score":`)
			score, _, _ = strings.Cut(score, ",")
			scores[score]++
		}
	}
	end()
	if len(scores) > 1 {
		t.Errorf("scores %v", scores)
	}
	return fmt.Sprintf("exchanged %d times; answers by status: %v", swaps, answers)
}
