//go:build unix

package process

import (
	"fmt"
	"os"
	"syscall"
)

// setAside keeps standard output for the handshake, which os.Stdout writes. What
// anybody else prints to descriptor 1, such as a C library, goes to standard error
// from here on.
func setAside() error {
	kept, err := syscall.Dup(1)
	if err != nil {
		return fmt.Errorf("keeping standard output for the handshake: %w", err)
	}
	syscall.CloseOnExec(kept)
	if err := duplicate(2, 1); err != nil {
		return fmt.Errorf("keeping standard output for the handshake: %w", err)
	}
	os.Stdout = os.NewFile(uintptr(kept), "handshake")
	return nil
}
