// Command pynomaly-runtime serves anomaly detectors.
//
// This package only wires the other packages together.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/backends/all"
	"github.com/pynomaly/pynomaly-runtime/internal/lifecycle"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
)

func main() {
	// Helper processes branch off before anything else is set up.
	if played, err := all.Play(os.Args, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	} else if played {
		return
	}
	os.Exit(run())
}

// exitError carries an exit code other than 1. Its message has been printed.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// errorPatience bounds the printing of the last error, because standard error may be
// a pipe that nobody reads.
const errorPatience = time.Second

// interruptPatience is how long an interrupted command may take to end.
const interruptPatience = 2 * time.Second

// stopsInOrder marks commands that stop in order and bound that time themselves.
const stopsInOrder = "stops-in-order"

func run() int {
	root := newCommand(os.Stdin, os.Stdout, os.Stderr)
	patience := patienceWith(root, os.Args[1:])
	ctx, stop := lifecycle.Interruptible(context.Background(), patience)
	defer stop()
	err := root.ExecuteContext(ctx)
	var code exitError
	var interrupt lifecycle.BySignal
	switch {
	case err == nil:
		return 0
	case patience > 0 && errors.As(context.Cause(ctx), &interrupt):
		if errors.Is(err, context.Canceled) {
			err = interrupt
		}
		printError(err)
		return interrupt.ExitCode()
	case errors.As(err, &code):
		return int(code)
	}
	printError(err)
	return 1
}

func printError(err error) {
	printed := make(chan error, 1)
	go func() {
		_, err := fmt.Fprintln(printable.Writer(os.Stderr), "Error:", err)
		printed <- err
	}()
	_ = lifecycle.WaitFor(printed, errorPatience) // the error cannot be reported elsewhere
}

// patienceWith returns how long the command in args may take to end.
func patienceWith(root *cobra.Command, args []string) time.Duration {
	if c, _, err := root.Find(args); err == nil && c.Annotations[stopsInOrder] != "" {
		return 0
	}
	return interruptPatience
}
