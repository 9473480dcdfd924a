package faults

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(launchEnv) != "":
		fmt.Fprintln(os.Stderr, "launching:", launch(os.Getenv(launchEnv)))
		os.Exit(1)
	case os.Getenv(isolatedEnv) == isolatedInit:
		os.Exit(beInit())
	case os.Getenv(isolatedEnv) == "" && os.Geteuid() == 0 && os.Getenv("FAULTS_ISOLATE") != "0":
		if code, ok := isolate(); ok {
			os.Exit(code)
		}
	}
	os.Exit(m.Run())
}

// full reports whether the whole suite runs, not the short form.
func full() bool { return os.Getenv("FAULTS") == "full" }

// pick returns how much the short or the full form does.
func pick[T any](short, whole T) T {
	if full() {
		return whole
	}
	return short
}

// seed returns where the random choices start.
func seed() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("FAULTS_SEED"), 10, 64); err == nil {
		return n
	}
	return 1
}
