package manifest

import (
	"cmp"
	"path/filepath"
	"time"

	"golang.org/x/mod/semver"

	y "github.com/pynomaly/pynomaly-runtime/internal/strictyaml"
)

// Bounds of values in a manifest.
const (
	MaxFeatures     = 10000
	MaxNameLength   = 256
	MaxPermutations = 1000
	MaxRowsPerCall  = 1000000
	MaxFiles        = 1000
)

// The values of output.orientation.
const (
	HigherIsAnomalous = "higher_is_anomalous"
	HigherIsNormal    = "higher_is_normal"
)

var orientations = []string{HigherIsAnomalous, HigherIsNormal}

// ValidVersion reports whether s is a semantic version without build metadata and
// without a leading v.
func ValidVersion(s string) bool {
	return semver.IsValid("v"+s) && semver.Build("v"+s) == "" && semver.Canonical("v"+s) == "v"+s
}

// CompareVersions compares semantic versions; the newer one is greater.
func CompareVersions(a, b string) int { return semver.Compare("v"+a, "v"+b) }

// IsPrerelease reports whether version is a pre-release such as 2.0.0-rc.1.
func IsPrerelease(version string) bool { return semver.Prerelease("v"+version) != "" }

// NewestFirst compares versions so that sorting puts the version that "latest" names
// first: releases before pre-releases, and higher before lower. Texts that are not
// semantic versions come last. It is for slices.SortFunc and slices.MinFunc.
func NewestFirst(a, b string) int {
	return cmp.Or(cmp.Compare(class(a), class(b)), CompareVersions(b, a), cmp.Compare(a, b))
}

func class(version string) int {
	switch {
	case !ValidVersion(version):
		return 2
	case IsPrerelease(version):
		return 1
	}
	return 0
}

func (m *draft) resolveIdentity(d *y.Decoder) {
	if m.apiVersion != APIVersion {
		d.Problemf("apiVersion", "is %q; must be %s", m.apiVersion, APIVersion)
	}
	if m.kind != Kind {
		d.Problemf("kind", "is %q; must be %s", m.kind, Kind)
	}
	if !ValidID(m.ID) {
		d.Problemf("id", "is %q; must be 1 to %d letters, digits, - and _, beginning with a letter or digit", m.ID, MaxIDLength)
	}
	if !ValidVersion(m.Version) {
		d.Problemf("version", "is %q; must be a semantic version such as 1.2.0 or 1.2.0-rc.1, without build metadata", m.Version)
	}
	choose(d, "backend", m.Backend, BackendONNX, BackendWASM, BackendProcess)
	switch {
	case m.Artifact == "" && len(m.Command) == 0:
		d.Problemf("artifact", "is missing: name the model's file")
	case m.Artifact != "":
		local(d, "artifact", m.Artifact)
	}
	if len(m.Command) > 0 && m.Backend != BackendProcess {
		d.Problemf("command", "is for backend process only")
	}
	if m.Processes < 0 || m.Processes > MaxProcesses {
		d.Problemf("processes", "is %d; must be 1 to %d", m.Processes, MaxProcesses)
	}
	if m.Processes != 0 && m.Backend != BackendProcess {
		d.Problemf("processes", "is for backend process only")
	}
	if m.Digest != "" && !digestPattern.MatchString(m.Digest) {
		d.Problemf("digest", "must be sha256: and 64 lower-case hex digits")
	}
	if len(m.Files) > MaxFiles {
		d.Problemf("files", "names %d files; at most %d are read", len(m.Files), MaxFiles)
	}
	for name, digest := range m.Files {
		local(d, "files."+name, name)
		if !digestPattern.MatchString(digest) {
			d.Problemf("files."+name, "must be sha256: and 64 lower-case hex digits")
		}
	}
}

// local reports a path that leaves the model's directory.
func local(d *y.Decoder, path, name string) {
	if name == "" || !filepath.IsLocal(name) {
		d.Problemf(path, "is %q; must be a file inside the model's directory", name)
	}
}

func (m *draft) resolveScore(d *y.Decoder) {
	m.resolveOutput(d)
	if d.Has("calibration") {
		m.resolveCalibration(d)
	}
	if d.Has("confidence") {
		c := m.confidence
		m.Confidence = &c
		if c.Contamination <= 0 || c.Contamination > 0.5 {
			d.Problemf("confidence.contamination", "is %v; must be above 0 and at most 0.5", c.Contamination)
		}
		if c.TrainingSize < 0 {
			d.Problemf("confidence.training_size", "is %d; must be at least 1", c.TrainingSize)
		}
		if m.calibration.Scores == "" {
			d.Problemf("confidence", "needs calibration.scores: the file of sorted training scores")
		}
		if m.Threshold == nil {
			d.Problemf("confidence", "needs threshold")
		}
	}
	if d.Has("drift") {
		m.DriftBins = m.drift
		local(d, "drift.bins", m.drift)
	}
	if d.Has("golden") {
		g := m.golden
		m.Golden = &g
		local(d, "golden.rows", g.Rows)
		if g.Tolerance < 0 {
			d.Problemf("golden.tolerance", "is %v; must not be negative", g.Tolerance)
		}
	}
}

func (m *draft) resolveOutput(d *y.Decoder) {
	m.Output.HigherIsNormal = choose(d, "output.orientation", m.orientation, orientations...) == orientations[1]
	if d.Has("output.column") {
		m.Output.Column = clone(&m.column)
		if m.column < 0 {
			d.Problemf("output.column", "is %d; columns are counted from 0", m.column)
		}
		m.onlyONNX(d, "output.column")
	}
	if d.Has("output.reconstruction") {
		choose(d, "output.reconstruction", m.Output.Reconstruction, ReconstructionMSE, ReconstructionMAE)
		m.onlyONNX(d, "output.reconstruction")
		if d.Has("output.column") {
			d.Problemf("output.reconstruction", "needs all columns of the output: leave out column, or reconstruction")
		}
	}
}

// resolveInput checks the input of the feature at a path.
func (m *draft) resolveInput(d *y.Decoder, at string, f *Feature) {
	if !d.Has(at + ".input") {
		return
	}
	m.onlyONNX(d, at+".input")
	switch {
	case f.Input == "":
		d.Problemf(at+".input", "is empty; must be the name of an input of the graph")
	case d.Has("input") && m.Input != f.Input:
		d.Problemf(at+".input", "is %q, while input says that %q takes all features: leave one of them out", f.Input, m.Input)
	}
}

// onlyONNX reports a key of graphs in a manifest of another backend.
func (m *draft) onlyONNX(d *y.Decoder, path string) {
	if m.Backend != BackendONNX {
		d.Problemf(path, "is for backend onnx only")
	}
}

func (m *draft) resolveCalibration(d *y.Decoder) {
	c := m.calibration
	m.Calibration = &c
	choose(d, "calibration.method", c.Method, CalibrateLinear, CalibrateUnify, CalibrateECDF)
	if c.Scores != "" {
		local(d, "calibration.scores", c.Scores)
	}
	switch c.Method {
	case CalibrateLinear:
		if c.Scores == "" && (c.Min == nil || c.Max == nil) {
			d.Problemf("calibration", "linear needs min and max, or scores")
		}
		if c.Min != nil && c.Max != nil && *c.Min >= *c.Max {
			d.Problemf("calibration.max", "is %v; must be above min, %v", *c.Max, *c.Min)
		}
	case CalibrateUnify:
		if c.Scores == "" && (c.Mean == nil || c.Std == nil) {
			d.Problemf("calibration", "unify needs mean and std, or scores")
		}
		if c.Std != nil && *c.Std <= 0 {
			d.Problemf("calibration.std", "is %v; must be above 0", *c.Std)
		}
	case CalibrateECDF:
		if c.Scores == "" {
			d.Problemf("calibration", "ecdf needs scores: the file of sorted training scores")
		}
	}
}

func (m *draft) resolveLimits(d *y.Decoder) {
	m.LearnOnline = choose(d, "learning", m.learning, "none", "online") == "online"
	if m.LearnOnline && !m.Stateful {
		d.Problemf("learning", "online is for models with stateful: true")
	}
	positive := func(path string, v time.Duration) {
		if v <= 0 || v > 24*time.Hour {
			d.Problemf(path, "is %v; must be above 0 and at most 24h", v)
		}
	}
	positive("limits.timeout", m.Limits.Timeout)
	positive("limits.load_timeout", m.Limits.LoadTimeout)
	positive("snapshot_interval", m.SnapshotEvery)
	if least := 10 * time.Millisecond; m.SnapshotEvery > 0 && m.SnapshotEvery < least {
		d.Problemf("snapshot_interval", "is %v; must be at least %v", m.SnapshotEvery, least)
	}
	within := func(path string, v, most int) {
		if v < 1 || v > most {
			d.Problemf(path, "is %d; must be 1 to %d", v, most)
		}
	}
	within("limits.max_batch_rows", m.Limits.MaxBatchRows, MaxRowsPerCall)
	within("batching.max_rows", m.Batching.MaxRows, MaxRowsPerCall)
	within("batching.max_queue", m.Batching.MaxQueue, MaxRowsPerCall)
	if m.Limits.Memory < 1<<20 {
		d.Problemf("limits.memory", "is %s; must be at least 1MiB", y.FormatBytes(m.Limits.Memory))
	}
}
