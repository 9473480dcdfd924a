package until_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/until"
)

func TestEndsAtItsDeadline(t *testing.T) {
	c := until.New(time.Now().Add(20 * time.Millisecond))
	defer c.End()
	if err := c.Err(); err != nil {
		t.Fatalf("ended early: %v", err)
	}
	<-c.Done()
	if err := c.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("ended with %v", err)
	}
	c.Reset(time.Now().Add(time.Hour))
	if err := c.Err(); err != nil {
		t.Errorf("after a reset: %v", err)
	}
	child, cancel := context.WithTimeout(c, time.Minute)
	defer cancel()
	if _, only := until.Only(child); only {
		t.Error("a child can be cancelled")
	}
	if _, only := until.Only(c); !only {
		t.Error("the context ends at its deadline only")
	}
}

func TestPassedDeadline(t *testing.T) {
	c := until.New(time.Now().Add(-time.Second))
	if !errors.Is(c.Err(), context.DeadlineExceeded) {
		t.Errorf("Err is %v", c.Err())
	}
}
