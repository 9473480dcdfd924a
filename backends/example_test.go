package backends_test

import (
	"errors"
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/backends"
)

func ExampleErrRefused() {
	err := fmt.Errorf("%w: operator NonZero makes outputs whose size depends on data", backends.ErrRefused)
	if errors.Is(err, backends.ErrRefused) {
		fmt.Println("the model is at fault:", err)
	}
	// Output: the model is at fault: refused: operator NonZero makes outputs whose size depends on data
}
