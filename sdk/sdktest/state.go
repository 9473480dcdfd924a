package sdktest

import (
	"errors"
	"fmt"

	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// state checks that a detector that loads another's state continues as the
// other does. It must also do so after it has refused to load nonsense.
func state(k *kit) error {
	s, err := k.fresh()
	if err != nil {
		return err
	}
	if !s.Info().Stateful {
		return skip("it has no state")
	}
	features := s.Info().Features
	in, err := k.rows(features, 4*someRows)
	if err != nil {
		return err
	}
	learner, learns := s.(sdk.Learner)
	if learns {
		if err := learner.Learn(k.ctx, in); errors.Is(err, errors.ErrUnsupported) {
			learns = false
		} else if err != nil {
			return fmt.Errorf("learning %d rows: %w", in.Rows(), err)
		}
	}
	saver, saved, err := k.saved(s)
	if err != nil {
		return err
	}
	other, err := k.fresh()
	if err != nil {
		return err
	}
	loader, ok := other.(sdk.Snapshotter)
	if !ok {
		return errors.New("its state can be saved but not loaded")
	}
	if err := loader.Load(k.ctx, saved); err != nil {
		return fmt.Errorf("loading the state: %w", err)
	}
	compare := func(when string) error { return k.equal(when, s, other, in) }
	if err := compare("after loading the state"); err != nil {
		return err
	}
	if learns {
		if err := k.learnOn(s, other, in.Slice(0, someRows)); err != nil {
			return err
		}
		if err := compare("after learning on"); err != nil {
			return err
		}
	}
	if err := k.refusesNonsense(loader); err != nil {
		return err
	}
	if err := loader.Load(k.ctx, saved); err != nil { // refusing a state may reset the detector
		return fmt.Errorf("loading the state after one that was refused: %w", err)
	}
	if saved, err = saver.Save(k.ctx); err != nil {
		return fmt.Errorf("saving the state again: %w", err)
	}
	if err := loader.Load(k.ctx, saved); err != nil {
		return fmt.Errorf("loading the state again: %w", err)
	}
	return compare("after loading the state again")
}

// saved makes a detector save its state.
func (k *kit) saved(s sdk.Scorer) (sdk.Snapshotter, []byte, error) {
	saver, ok := s.(sdk.Snapshotter)
	if !ok {
		return nil, nil, skip("its state cannot be saved")
	}
	saved, err := saver.Save(k.ctx)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil, skip("its state cannot be saved")
	} else if err != nil {
		return nil, nil, fmt.Errorf("saving the state: %w", err)
	}
	return saver, saved, nil
}

// learnOn teaches the same rows to two detectors.
func (k *kit) learnOn(one, other sdk.Scorer, in *sdk.Batch) error {
	for _, d := range []sdk.Scorer{one, other} {
		if err := d.(sdk.Learner).Learn(k.ctx, in); err != nil {
			return fmt.Errorf("learning after loading the state: %w", err)
		}
	}
	return nil
}

// equal scores rows with two detectors and compares their scores.
func (k *kit) equal(when string, one, other sdk.Scorer, in *sdk.Batch) error {
	a, _, err := k.score(one, in)
	if err != nil {
		return err
	}
	b, _, err := k.score(other, in)
	if err != nil {
		return err
	}
	if err := same(a, b); err != nil {
		return fmt.Errorf("%s: %w", when, err)
	}
	return nil
}

// refusesNonsense loads bytes that are no state. Load must return a readable
// error.
func (k *kit) refusesNonsense(loader sdk.Snapshotter) error {
	const nonsense = "no state of any detector"
	err := loader.Load(k.ctx, []byte(nonsense))
	if err == nil {
		return fmt.Errorf("it loaded %q as a state", nonsense)
	}
	if err := readable(err.Error()); err != nil {
		return fmt.Errorf("the error of loading nonsense: %w", err)
	}
	return nil
}
