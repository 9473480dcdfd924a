// Command pairs writes modules beside their metered forms, for another engine to
// compare (scripts/second_engine.py):
//
//	go run ./testdata/make/pairs -in backends/wasm/meter/testdata/smith.zip -out pairs.zip
//
// With -mutants it first damages the modules at random, and writes those that the
// meter accepts.
package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"

	"github.com/pynomaly/pynomaly-runtime/backends/wasm/meter"
)

func main() {
	in := flag.String("in", "", "a zip archive or directory of modules")
	out := flag.String("out", "pairs.zip", "the archive to write: NAME.original.wasm and NAME.metered.wasm")
	mutants := flag.Int("mutants", 0, "how many damaged modules to try; 0: the modules as they are")
	seed := flag.Uint64("seed", 1, "of the damage")
	flag.Parse()
	if err := run(*in, *out, *mutants, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "pairs:", err)
		os.Exit(1)
	}
}

func run(in, out string, mutants int, seed uint64) error {
	names, modules, err := read(in)
	if err != nil {
		return err
	}
	if len(modules) == 0 {
		return fmt.Errorf("%s has no modules", in)
	}
	file, err := os.Create(out)
	if err != nil {
		return fmt.Errorf("making the archive: %w", err)
	}
	w := &writer{z: zip.NewWriter(file)}
	if mutants == 0 {
		for i, module := range modules {
			if err := w.pair(names[i], module); err != nil {
				return err
			}
		}
	}
	random := rand.New(rand.NewPCG(seed, 0))
	for n := range mutants {
		i := random.IntN(len(modules))
		if err := w.pair(fmt.Sprintf("%06d-%s", n, names[i]), damaged(random, withoutCustom(modules[i]))); err != nil {
			return err
		}
	}
	fmt.Printf("%d taken, %d refused by the meter\n", w.taken, w.refused)
	if err := errors.Join(w.z.Close(), file.Close()); err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	return nil
}

// read reads all modules of an archive or directory.
func read(in string) (names []string, modules [][]byte, err error) {
	source := os.DirFS(in)
	if info, err := os.Stat(in); err == nil && !info.IsDir() {
		z, err := zip.OpenReader(in)
		if err != nil {
			return nil, nil, fmt.Errorf("opening modules: %w", err)
		}
		defer z.Close()
		source = z
	}
	if names, err = fs.Glob(source, "*.wasm"); err != nil {
		return nil, nil, fmt.Errorf("listing modules: %w", err)
	}
	for i, name := range names {
		module, err := fs.ReadFile(source, name)
		if err != nil {
			return nil, nil, fmt.Errorf("reading modules: %w", err)
		}
		names[i], modules = name[:len(name)-len(".wasm")], append(modules, module)
	}
	return names, modules, nil
}

type writer struct {
	z              *zip.Writer
	taken, refused int
}

// pair writes a module and its metered form, if the meter accepts the module.
func (w *writer) pair(name string, module []byte) error {
	metered, err := meter.Rewrite(module, meter.DefaultLimits())
	if errors.Is(err, meter.ErrModule) {
		w.refused++
		return nil
	}
	if err != nil {
		return fmt.Errorf("metering %s: %w", name, err)
	}
	w.taken++
	for suffix, data := range map[string][]byte{".original.wasm": module, ".metered.wasm": metered} {
		f, err := w.z.Create(name + suffix)
		if err == nil {
			_, err = f.Write(data)
		}
		if err != nil {
			return fmt.Errorf("writing the archive: %w", err)
		}
	}
	return nil
}

// damaged returns a module with one to three bytes changed.
func damaged(random *rand.Rand, module []byte) []byte {
	const header = 8
	out := bytes.Clone(module)
	for range 1 + random.IntN(3) {
		at := header + random.IntN(len(out)-header)
		switch random.IntN(4) {
		case 0:
			out[at] ^= 1 << random.IntN(8)
		case 1: // one more, so that indices go out of range
			out[at]++
		case 2:
			out[at]--
		case 3:
			out[at] = byte(random.Uint32())
		}
	}
	return out
}

// withoutCustom drops custom sections, as the meter does, because engines differ about them.
func withoutCustom(module []byte) []byte {
	out := bytes.Clone(module[:8])
	for rest := module[8:]; len(rest) > 0; {
		size, n := binary.Uvarint(rest[1:])
		whole := 1 + n + int(size)
		if rest[0] != 0 {
			out = append(out, rest[:whole]...)
		}
		rest = rest[whole:]
	}
	return out
}
