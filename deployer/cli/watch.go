package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/printable"
)

type fmtWriter = io.Writer

// watch prints a revision's progress until its rollout has ended. It polls every
// half second, so that a lost connection loses nothing.
func (a *app) watch(outer context.Context, c client.Client, md *v1alpha1.ModelDeployment, rev *v1alpha1.ModelRevision, id string) error {
	const every = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(outer, a.timeout)
	defer cancel()
	last, warned := "", ""
	verdicts := map[string]string{}
	failures := 0
	for {
		err := c.Get(ctx, client.ObjectKeyFromObject(md), md)
		if err == nil {
			err = c.Get(ctx, client.ObjectKeyFromObject(rev), rev)
		}
		switch {
		case outer.Err() != nil:
			return interrupted(id)
		case ctx.Err() != nil:
			return &ExitError{ExitTimeout, fmt.Errorf("%s: followed for %s; the rollout continues: see `deploy status %s`", id, a.timeout, id)}
		case client.IgnoreNotFound(err) == nil && err != nil:
			return fmt.Errorf("%s was deleted", id)
		case err != nil:
			if failures++; failures > 20 {
				return explain(err)
			}
		default:
			failures = 0
			for _, v := range md.Status.Verdicts {
				if text := fmt.Sprintf("gate %s: %s (n %d, %s against a limit of %s) %s", v.Gate, v.Result, v.N, v.Statistic, v.Limit, v.Message); verdicts[v.Gate] != v.Result && md.Status.Update == rev.Spec.Hash {
					verdicts[v.Gate] = v.Result
					a.say(id, text)
				}
			}
			if text := md.Status.Rollout.Warning; text != warned && md.Status.Update == rev.Spec.Hash {
				if warned = text; text != "" {
					a.say(id, "warning: "+text)
				}
			}
			if text := fmt.Sprintf("%s, weight %d %%: %s", rev.Status.Phase, md.Status.Rollout.Weight, rev.Status.Message); text != last {
				last = text
				a.say(id, text)
			}
			if done, err := ended(id, md, rev); done {
				if a.machine() {
					return errors.Join(a.print(summary(rev, md), nil), err)
				}
				return err
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
}

// interrupted is the error of a command that a signal ended while it waited.
func interrupted(id string) error {
	return &ExitError{ExitInterrupted, fmt.Errorf("%s: interrupted; the rollout continues: see `deploy status`", id)}
}

// machine reports whether a program reads standard output. Progress then goes to
// standard error.
func (a *app) machine() bool { return a.asJSON || (a.output != "" && a.output != "table") }

func (a *app) say(id, text string) {
	out := a.Out
	if a.machine() {
		out = a.Err
	}
	fmt.Fprintf(out, "%s %s %s\n", a.Now().UTC().Format("15:04:05"), id, printable.Line(text))
}

// ended reports whether a rollout is over and returns its error. The status of a
// revision may be left from an earlier rollout of it.
func ended(id string, md *v1alpha1.ModelDeployment, rev *v1alpha1.ModelRevision) (bool, error) {
	s := &md.Status
	if s.Update != rev.Spec.Hash {
		return true, &ExitError{ExitSuperseded, fmt.Errorf("%s was superseded by another rollout", id)}
	}
	switch s.Phase {
	case v1alpha1.Deployed:
		return s.Stable == s.Update, nil
	case v1alpha1.Failed, v1alpha1.RolledBack:
		return true, &ExitError{ExitFailed, fmt.Errorf("%s is %s: %s", id, s.Phase, s.Message)}
	}
	return false, nil
}
