package wasm

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/pynomaly/pynomaly-runtime/backends"
)

// An entry of the cache is a directory with a module's metered form, its code and a
// seal. The host loads native code only if a host with this key has written it.

const (
	meteredFile = "metered.wasm"
	codeDir     = "code"
	sealFile    = "seal"
	keyFile     = ".key"
	keySize     = sha256.Size
)

// maxCode is the largest size of a module's code, which the host holds in memory.
const maxCode = 256 << 20

// errSeal means that no host with this key has written an entry.
var errSeal = errors.New("compiled code is damaged or was written by another host")

// readKey reads the key of a cache. It makes one if there is none.
func readKey(root *os.Root) ([]byte, error) {
	for range 3 {
		key, err := root.ReadFile(keyFile)
		if err == nil && len(key) == keySize {
			return key, nil
		}
		if err == nil { // a key of the wrong size: entries are compiled again
			err = root.Remove(keyFile)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("reading the cache's key: %w", err)
		}
		key = make([]byte, keySize)
		_, _ = rand.Read(key)
		// The rename makes the key appear complete: another host may make one at the
		// same time.
		tmp := newName()
		if err := root.WriteFile(tmp, key, 0o600); err != nil {
			return nil, fmt.Errorf("writing the cache's key: %w", errors.Join(err, root.Remove(tmp)))
		}
		err = root.Link(tmp, keyFile)
		if err = errors.Join(ignore(err, fs.ErrExist), root.Remove(tmp)); err != nil {
			return nil, fmt.Errorf("writing the cache's key: %w", err)
		}
	}
	return nil, errors.New("reading the cache's key: it keeps changing")
}

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

// entry is an open entry.
type entry struct {
	metered []byte
	code    *os.File // its directory
}

// openEntry opens an entry and checks its seal. The caller closes its code.
func (h home) openEntry(name string) (*entry, error) {
	seal, err := h.root.ReadFile(path.Join(name, sealFile))
	if err != nil {
		return nil, fmt.Errorf("reading the cache: %w", err)
	}
	dir, err := h.root.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("reading the cache: %w", err)
	}
	defer dir.Close()
	metered, err := dir.ReadFile(meteredFile)
	if err != nil {
		return nil, fmt.Errorf("reading the cache: %w", err)
	}
	want, err := h.sealOf(dir, name, metered)
	if err != nil {
		return nil, err
	}
	if !hmac.Equal(seal, want) {
		return nil, errSeal
	}
	code, err := dir.Open(codeDir)
	if err != nil {
		return nil, fmt.Errorf("reading the cache: %w", err)
	}
	return &entry{metered: metered, code: code}, nil
}

// seal writes the metered form and the seal of a new entry in dir, which already
// holds the code.
func (h home) seal(dir *os.Root, name string, metered []byte) error {
	seal, err := h.sealOf(dir, name, metered)
	if err == nil {
		err = dir.WriteFile(meteredFile, metered, 0o600)
	}
	if err == nil {
		err = dir.WriteFile(sealFile, seal, 0o600)
	}
	return err
}

// sealOf computes the seal of everything that is loaded from an entry.
func (h home) sealOf(dir *os.Root, name string, metered []byte) ([]byte, error) {
	mac := hmac.New(sha256.New, h.key)
	add := func(data []byte) {
		_, _ = mac.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(data))))
		_, _ = mac.Write(data)
	}
	add([]byte(name))
	add(metered)
	size, files := int64(0), 0
	err := fs.WalkDir(dir.FS(), codeDir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if !d.Type().IsRegular() {
			return fmt.Errorf("%w: %s is not a regular file", errSeal, file)
		}
		f, err := dir.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		sum := sha256.New()
		n, err := io.Copy(sum, io.LimitReader(f, maxCode-size+1))
		if err != nil {
			return err
		}
		if size += n; size > maxCode {
			return fmt.Errorf("%w: %w", backends.ErrRefused, backends.Ownf("the module compiles to more than %d MiB of code", maxCode>>20))
		}
		files++
		add([]byte(file))
		add(sum.Sum(nil))
		return nil
	})
	switch {
	case errors.Is(err, backends.ErrRefused), errors.Is(err, errSeal):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("reading the cache: %w", err)
	case files == 0: // the compiler must not run in this process
		return nil, fmt.Errorf("reading the cache: there is no code: %w", fs.ErrNotExist)
	}
	return mac.Sum(nil), nil
}
