package process

import "syscall"

// duplicate makes to another name of the descriptor from.
func duplicate(from, to int) error { return syscall.Dup3(from, to, 0) } // arm64 has no dup2
