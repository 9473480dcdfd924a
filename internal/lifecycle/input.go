package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Input returns a reader of a file, such as a terminal or a pipe, whose reads end
// when ctx does.
func Input(ctx context.Context, file *os.File) io.Reader { return &input{ctx, file} }

type input struct {
	ctx  context.Context
	file *os.File
}

// inputLook is the interval at which a waiting read checks its context.
const inputLook = 100 * time.Millisecond

// Read implements io.Reader.
func (f *input) Read(p []byte) (int, error) {
	for {
		if err := f.ctx.Err(); err != nil {
			return 0, err
		}
		ready := []unix.PollFd{{Fd: int32(f.file.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, int(inputLook/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, fmt.Errorf("waiting for input: %w", err)
		}
		if n > 0 {
			return f.file.Read(p)
		}
	}
}
