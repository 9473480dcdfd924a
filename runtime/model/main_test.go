package model_test

import (
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }
