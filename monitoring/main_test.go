//go:build monitoring

package monitoring_test

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hosttest"
)

func TestMain(m *testing.M) { hosttest.Main(m) }
