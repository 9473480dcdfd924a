package onnx

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// libraryNames returns the library's possible file names, best first.
func libraryNames(platform string) []string {
	if platform == "darwin" {
		return []string{"libonnxruntime." + Version + ".dylib", "libonnxruntime.1.dylib", "libonnxruntime.dylib"}
	}
	return []string{"libonnxruntime.so." + Version, "libonnxruntime.so.1", "libonnxruntime.so"}
}

// Locate finds ONNX Runtime: the given file if not empty, else the library
// beside the running binary or in lib beside it, else in the system's library
// directories.
func Locate(given string) (string, error) {
	if given != "" {
		if _, err := os.Stat(given); err != nil {
			return "", fmt.Errorf("looking for ONNX Runtime at the path of --onnxruntime, PYNOMALY_BACKENDS_ONNX_LIBRARY or backends.onnx.library: %w: correct the path, or leave it out after `make onnxruntime`", err)
		}
		return filepath.Abs(given)
	}
	var dirs []string
	if self, err := os.Executable(); err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			self = real
		}
		dirs = append(dirs, filepath.Dir(self), filepath.Join(filepath.Dir(self), "lib"))
	}
	triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	dirs = append(dirs, "/usr/local/lib", "/usr/lib/"+triplet, "/usr/lib64", "/usr/lib")
	names := libraryNames(runtime.GOOS)
	for _, dir := range dirs {
		for _, name := range names {
			file := filepath.Join(dir, name)
			if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() {
				return file, nil
			}
		}
	}
	return "", fmt.Errorf("found no %s in %s: run `make onnxruntime`, or name the file with --onnxruntime or PYNOMALY_BACKENDS_ONNX_LIBRARY",
		names[0], strings.Join(dirs, ", "))
}
