// Package host measures the process it runs in.
package host

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// ResidentBytes returns the resident memory of this process, or 0 if it is not
// known.
func ResidentBytes() int64 {
	n, err := statm(1)
	if err != nil {
		return 0
	}
	return n
}

// VirtualBytes returns the size of this process's address space.
func VirtualBytes() (int64, error) { return statm(0) }

// statm returns field i of /proc/self/statm in bytes.
func statm(i int) (int64, error) {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, fmt.Errorf("reading statm: %w", err)
	}
	parts := bytes.Fields(data)
	if i >= len(parts) {
		return 0, fmt.Errorf("statm has no field %d", i)
	}
	pages, err := strconv.ParseInt(string(parts[i]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading statm: %w", err)
	}
	return pages * int64(os.Getpagesize()), nil
}
