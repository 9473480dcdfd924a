//go:build linux

package process

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// program is a model's plugin, ready to be started any number of times. It holds the
// checked bytes in places that nobody else can change.
type program struct {
	backend *Backend
	model   *manifest.Manifest
	dir     string   // private
	files   []string // names of the model's files in modelDir
	binary  *os.File // nil: run command
	path    string   // the path of command's program
	args    []string
}

func (p *program) modelDir() string { return filepath.Join(p.dir, "model") }

// prepare writes a model's files.
func (b *Backend) prepare(a backends.Artifact) (_ *program, err error) {
	p := &program{backend: b, model: a.Manifest, dir: filepath.Join(b.dir, strconv.FormatInt(b.plugins.Add(1), 10))}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("laying out the plugin: %w", err), p.close())
		}
	}()
	if err := os.Mkdir(p.dir, 0o711); err != nil { //nolint:gosec // plugins of another user pass through it
		return nil, err
	}
	if err := os.Chmod(p.dir, 0o711); err != nil { //nolint:gosec // the same, whatever umask is
		return nil, err
	}
	files := map[string][]byte{}
	for name, data := range a.Files {
		files[name] = data
	}
	command := a.Manifest.Command
	switch {
	case len(command) == 0 && isScript(a.Bytes): // its interpreter opens it by name
		command = []string{a.Manifest.Artifact}
		files[a.Manifest.Artifact] = a.Bytes
	case len(command) == 0:
		if p.binary, err = sealed(a.Manifest.ID, a.Bytes); err != nil {
			return nil, err
		}
		p.args = []string{a.Manifest.ID}
	case a.Manifest.Artifact != "":
		files[a.Manifest.Artifact] = a.Bytes
	}
	if err := p.write(files); err != nil {
		return nil, err
	}
	for name := range files {
		if name != a.Manifest.Artifact {
			p.files = append(p.files, name)
		}
	}
	slices.Sort(p.files)
	if len(command) == 0 {
		return p, nil
	}
	if a.Manifest.Artifact != "" {
		p.files = append([]string{a.Manifest.Artifact}, p.files...)
	}
	p.args = slices.Clone(command)
	switch name := command[0]; {
	case files[filepath.Clean(name)] != nil:
		p.path = filepath.Join(p.modelDir(), name)
	case strings.Contains(name, "/") && !filepath.IsAbs(name):
		return nil, fmt.Errorf("command begins with %s, which is not a file of the model: list it under files", name)
	default:
		if p.path, err = exec.LookPath(name); err != nil {
			return nil, fmt.Errorf("command begins with %s: %w", name, err)
		}
	}
	return p, nil
}

// write writes the model's files so that only the plugin can read them.
func (p *program) write(files map[string][]byte) error {
	if err := os.Mkdir(p.modelDir(), 0o700); err != nil {
		return err
	}
	for name, data := range files {
		file := filepath.Join(p.modelDir(), filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return err
		}
	}
	user := p.backend.user
	return filepath.WalkDir(p.modelDir(), func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := os.FileMode(0o500)
		if user.other { // the host keeps the file, so that the plugin cannot change its mode
			mode = 0o550
			if err := os.Chown(path, -1, user.gid); err != nil { //nolint:gosec // nobody else can write here yet
				return err
			}
		}
		return os.Chmod(path, mode) //nolint:gosec // the same
	})
}

// sealed returns a file in memory that can be run but not changed.
func sealed(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // the kernel does not know MFD_EXEC, which is its default
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	}
	if err != nil {
		return nil, fmt.Errorf("making a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err = f.Write(data); err == nil {
		err = seal(f)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("writing a file in memory: %w", err), f.Close())
	}
	return f, nil
}

// seal makes a file unchangeable. F_ADD_SEALS can fail with EBUSY while the kernel
// holds a page, after waiting for up to 150 ms itself; seal then retries.
func seal(f *os.File) error {
	const tries = 40
	var err error
	for range tries {
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
		if !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

func (p *program) close() error {
	var err error
	if p.binary != nil {
		err = p.binary.Close()
	}
	return errors.Join(err, removeAll(p.dir))
}

// spaceBeside is the address space of a plugin beyond limits.memory: Go and gRPC
// reserve some that they do not use.
const spaceBeside = 4 << 30

// HostEnv names the variable with the host's process id in a plugin's environment.
// People and tests use it to find a host's plugins.
const HostEnv = "PYNOMALY_HOST_PID"

// spec returns how to start one process of the program.
func (p *program) spec(sockets string, env []string) spec {
	var own []string // first, because the first of several equal names counts
	for name, value := range p.backend.cfg.Env {
		own = append(own, name+"="+value)
	}
	s := spec{
		Path: p.path, Args: p.args, Dir: p.modelDir(), UID: -1, GID: -1,
		Memory: p.model.Limits.Memory, Processes: processLimit(), AddressSpace: uint64(p.model.Limits.Memory) + spaceBeside,
		Env: append(append(own, env...),
			"PATH="+os.Getenv("PATH"), "LANG=C.UTF-8", "HOME="+sockets, "TMPDIR="+sockets, HostEnv+"="+strconv.Itoa(os.Getpid()),
			"GOMEMLIMIT="+strconv.FormatInt(p.model.Limits.Memory*9/10, 10), "PYTHONDONTWRITEBYTECODE=1"),
	}
	if p.backend.cgroups != nil {
		s.AddressSpace = 0 // the group limits what is used, not what is reserved
	}
	if u := p.backend.user; u.other {
		s.UID, s.GID, s.Groups = u.uid, u.gid, u.groups
	}
	return s
}

// certificate makes one side's certificate for one connection. It does what
// go-plugin's AutoMTLS does, but with P-256: gRPC's C core, which Python uses, does
// not support P-521.
func certificate() (*tls.Config, string, error) {
	fail := func(err error) (*tls.Config, string, error) {
		return nil, "", fmt.Errorf("making a certificate: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fail(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return fail(err)
	}
	const name = "localhost"
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(30, 0, 0), // longer than any process runs
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fail(err)
	}
	cfg := &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS13, ServerName: name,
	}
	return cfg, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), nil
}

// configJSON returns the config section of the manifest as a JSON object.
func configJSON(m *manifest.Manifest) (string, error) {
	if len(m.Config) == 0 {
		return "{}", nil
	}
	text, err := json.Marshal(m.Config)
	if err != nil {
		return "", fmt.Errorf("writing the config: %w", err)
	}
	return string(text), nil
}
