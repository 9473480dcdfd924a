//go:build linux

package process

import (
	"fmt"
	"os"
)

// Main plays a role. The first supervises one process of a plugin, which its argument
// only names; the second starts supervisors, and its argument is the host's private
// directory.
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
