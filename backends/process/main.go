//go:build linux

package process

import (
	"fmt"
	"os"
)

// Main runs a helper role. In LimitsRole the process supervises one process of a
// plugin, and argument is its name, for people. In KeeperRole it starts supervisors,
// and argument is the host's private directory.
func Main(role, argument string) error {
	if role == LimitsRole {
		return supervise(os.NewFile(controlFD, "control"))
	}
	conn, err := asConn(os.Stdin)
	if err != nil {
		return fmt.Errorf("connecting to the host: %w", err)
	}
	return keep(conn, argument)
}
