package hosttest

import (
	"fmt"
	"os"
	"testing"
)

// Main runs a package's tests, as root in new namespaces. Call it from TestMain.
func Main(m *testing.M) {
	switch {
	case os.Getenv(launchEnv) != "":
		fmt.Fprintln(os.Stderr, "launching:", launch(os.Getenv(launchEnv)))
		os.Exit(1)
	case os.Getenv(isolatedEnv) == isolatedInit:
		os.Exit(beInit())
	case os.Getenv(isolatedEnv) == "" && os.Geteuid() == 0 && os.Getenv("HOSTTEST_ISOLATE") != "0":
		if code, ok := isolate(); ok {
			os.Exit(code)
		}
	}
	os.Exit(m.Run())
}
