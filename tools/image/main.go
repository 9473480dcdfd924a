// Command image writes a container image of the host as an archive for `docker
// load`, `podman load` and `ctr images import`. It needs no daemon.
//
// The base consists of Debian packages, fetched with apt-get: glibc and libstdc++,
// which ONNX Runtime needs, and nothing else. With -debug it also has a shell, curl,
// ps and nslookup. The command needs apt-get and dpkg-deb.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

type options struct {
	binary, library, models, config, detectors string
	version, out                               string
	debug                                      bool
}

// user is neither root nor a user of the machine.
const user = 65532

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/pynomaly-runtime", "the host")
	flag.StringVar(&o.library, "library", "", "ONNX Runtime's shared library")
	flag.StringVar(&o.detectors, "detectors", "", "directory of the reference detectors' modules")
	flag.StringVar(&o.models, "models", "", "directory of models to add; empty: none")
	flag.StringVar(&o.config, "config", "plugins.yaml", "configuration file to add")
	flag.StringVar(&o.version, "version", "dev", "version of the image")
	flag.StringVar(&o.out, "out", "image.tar", "archive to write")
	flag.BoolVar(&o.debug, "debug", false, "add a shell and tools")
	flag.Parse()
	if err := build(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func build(ctx context.Context, o options) error {
	work, err := os.MkdirTemp("", "image-*")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer os.RemoveAll(work)
	root := filepath.Join(work, "root")
	if err := debian(ctx, work, root, o.debug); err != nil {
		return fmt.Errorf("making the base: %w", err)
	}
	app := []source{
		{o.binary, "app/pynomaly-runtime", 0o755, false},
		{o.library, "app/" + filepath.Base(o.library), 0o755, false},
		{o.detectors, "app/plugins", 0o755, false},
		{o.config, "app/plugins.yaml", 0o644, false},
		{"", "app/state", 0o700, true},
	}
	models := []source{{o.models, "app/models", 0o755, false}}
	if o.models == "" {
		models[0] = source{"", "app/models", 0o755, false}
	}
	image := mutate.MediaType(empty.Image, "application/vnd.docker.distribution.manifest.v2+json")
	for _, layer := range []struct {
		what    string
		sources []source
	}{{"Debian packages", []source{{root, "", 0o755, false}}}, {"pynomaly-runtime " + o.version, app}, {"models", models}} {
		file := filepath.Join(work, strings.ReplaceAll(layer.what, " ", "-")+".tar")
		if err := writeLayer(file, layer.sources); err != nil {
			return fmt.Errorf("writing the layer of %s: %w", layer.what, err)
		}
		l, err := tarball.LayerFromFile(file)
		if err != nil {
			return fmt.Errorf("reading the layer of %s: %w", layer.what, err)
		}
		if image, err = mutate.Append(image, mutate.Addendum{Layer: l, History: v1.History{CreatedBy: layer.what, Created: v1.Time{Time: time.Unix(0, 0)}}}); err != nil {
			return fmt.Errorf("adding the layer of %s: %w", layer.what, err)
		}
	}
	if image, err = configure(image, o); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.out), 0o755); err != nil {
		return fmt.Errorf("making the output directory: %w", err)
	}
	tag, err := name.NewTag("pynomaly-runtime:" + o.version + map[bool]string{true: "-debug"}[o.debug])
	if err != nil {
		return fmt.Errorf("naming the image: %w", err)
	}
	if err := tarball.WriteToFile(o.out, tag, image); err != nil {
		return fmt.Errorf("writing the image: %w", err)
	}
	digest, err := image.Digest()
	if err != nil {
		return fmt.Errorf("computing the digest: %w", err)
	}
	info, err := os.Stat(o.out)
	if err != nil {
		return fmt.Errorf("reading the image: %w", err)
	}
	fmt.Printf("%s: %s, %.1f MiB, %s\n", o.out, tag.Name(), float64(info.Size())/(1<<20), digest)
	return nil
}

func configure(image v1.Image, o options) (v1.Image, error) {
	file, err := image.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("reading the image's configuration: %w", err)
	}
	file = file.DeepCopy()
	file.Architecture, file.OS = runtime.GOARCH, "linux"
	file.Config = v1.Config{
		User:         fmt.Sprintf("%d:%d", user, user),
		WorkingDir:   "/app",
		Entrypoint:   []string{"/app/pynomaly-runtime"},
		Cmd:          []string{"serve", "--host", "0.0.0.0", "--models", "/app/models"},
		Env:          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PYNOMALY_STATE_DIR=/app/state"},
		ExposedPorts: map[string]struct{}{"8080/tcp": {}},
		Labels: map[string]string{
			"org.opencontainers.image.title": "pynomaly-runtime", "org.opencontainers.image.version": o.version,
			"org.opencontainers.image.licenses": "MIT", "org.opencontainers.image.source": "https://github.com/pynomaly/pynomaly-runtime",
		},
	}
	out, err := mutate.ConfigFile(image, file)
	if err != nil {
		return nil, fmt.Errorf("writing the image's configuration: %w", err)
	}
	return out, nil
}

// debian unpacks packages and their dependencies into root.
func debian(ctx context.Context, work, root string, debug bool) error {
	packages := []string{"libc6", "libstdc++6"}
	if debug {
		packages = append(packages, "busybox-static", "curl")
	}
	archives := filepath.Join(work, "archives")
	if err := os.MkdirAll(filepath.Join(archives, "partial"), 0o755); err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	// Without installed packages, apt-get fetches all dependencies.
	none := filepath.Join(work, "status")
	if err := os.WriteFile(none, nil, 0o600); err != nil {
		return fmt.Errorf("writing a file: %w", err)
	}
	args := []string{"install", "--download-only", "--yes", "--no-install-recommends",
		"-o", "Dir::State::status=" + none, "-o", "Dir::Cache::archives=" + archives, "-o", "Debug::NoLocking=true", "-o", "APT::Sandbox::User=root"}
	if err := run(ctx, "apt-get", append(args, packages...)...); err != nil {
		return fmt.Errorf("fetching packages (is `apt-get update` due?): %w", err)
	}
	all, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil || len(all) == 0 {
		return errors.Join(errors.New("apt-get fetched nothing"), err)
	}
	slices.Sort(all)
	for _, deb := range all {
		if needless(filepath.Base(deb)) {
			continue
		}
		if err := run(ctx, "dpkg-deb", "--extract", deb, root); err != nil {
			return err
		}
	}
	for _, dir := range []string{"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian", "usr/share/info", "usr/share/bug", "usr/lib/systemd", "lib/systemd"} {
		if err := os.RemoveAll(filepath.Join(root, dir)); err != nil {
			return fmt.Errorf("removing documentation: %w", err)
		}
	}
	return finish(root, debug)
}

// needless reports whether a package only installs others or has only data for
// installing.
func needless(deb string) bool {
	for _, p := range []string{"debconf_", "perl-base_", "dpkg_", "tar_", "libcrypt1_", "openssl_"} {
		if strings.HasPrefix(deb, p) {
			return true
		}
	}
	return false
}

// finish adds what packages create when they are installed.
func finish(root string, debug bool) error {
	for _, dir := range []string{"etc", "tmp", "bin", "app"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return fmt.Errorf("making a directory: %w", err)
		}
	}
	files := map[string]string{
		"etc/passwd":        fmt.Sprintf("root:x:0:0:root:/:/sbin/nologin\npynomaly:x:%d:%d:pynomaly:/app:/sbin/nologin\n", user, user),
		"etc/group":         fmt.Sprintf("root:x:0:\npynomaly:x:%d:\n", user),
		"etc/nsswitch.conf": "hosts: files dns\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	if !debug {
		return nil
	}
	for _, applet := range []string{"sh", "ls", "cat", "ps", "nslookup", "env", "grep", "top", "wget", "kill", "df", "id", "vi"} {
		link := filepath.Join(root, "bin", applet)
		if _, err := os.Lstat(link); err == nil {
			continue
		}
		if err := os.Symlink("/bin/busybox", link); err != nil {
			return fmt.Errorf("linking busybox: %w", err)
		}
	}
	return nil
}

func run(ctx context.Context, command string, args ...string) error {
	cmd := exec.CommandContext(ctx, command, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, out)
	}
	return nil
}
