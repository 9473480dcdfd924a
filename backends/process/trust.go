//go:build linux

package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/digest"
)

// permit refuses a model that the operator has not allowed to run a program.
func (b *Backend) permit(a backends.Artifact) error {
	if len(b.cfg.Allow) == 0 {
		return fmt.Errorf("%w: no directory may run process plugins: name %s, or one above it, under backends.process.allow in plugins.yaml, if you trust what is in it as you trust this host", backends.ErrRefused, a.Dir)
	}
	var missing []string
	inside := false
	for _, allowed := range b.cfg.Allow {
		if !within(a, allowed.Path) {
			continue
		}
		inside = true
		if len(allowed.Digests) > 0 {
			if err := commandIsCovered(a); err != nil {
				return err
			}
		}
		if missing = notIn(a, allowed.Digests); len(missing) == 0 {
			return nil
		}
	}
	if !inside {
		var paths []string
		for _, allowed := range b.cfg.Allow {
			paths = append(paths, allowed.Path)
		}
		from := strings.Join(append([]string{a.Dir}, a.Outside...), ", ")
		return fmt.Errorf("%w: %s may not run process plugins: backends.process.allow in plugins.yaml names %s", backends.ErrRefused, from, strings.Join(paths, ", "))
	}
	return fmt.Errorf("%w: backends.process.allow in plugins.yaml does not list %s", backends.ErrRefused, strings.Join(missing, ", "))
}

// within reports whether all files of a model were read from dir or below it.
func within(a backends.Artifact, dir string) bool {
	for _, path := range append([]string{a.Dir}, a.Outside...) {
		if !backends.Within(path, dir) {
			return false
		}
	}
	return true
}

// notIn lists the files of a model that are not among the digests. An empty list of
// digests contains all files. For a script or a command all files count.
func notIn(a backends.Artifact, digests []string) []string {
	if len(digests) == 0 {
		return nil
	}
	var missing []string
	check := func(name, sum string) {
		if !slices.Contains(digests, sum) {
			missing = append(missing, fmt.Sprintf("%s (%s)", sum, name))
		}
	}
	if a.Manifest.Artifact != "" {
		check(a.Manifest.Artifact, digest.Of(a.Bytes))
	}
	if len(a.Manifest.Command) == 0 && !isScript(a.Bytes) {
		return missing
	}
	names := make([]string, 0, len(a.Files))
	for name := range a.Files {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		check(name, digest.Of(a.Files[name]))
	}
	return missing
}

// isScript reports whether a program names its interpreter.
func isScript(program []byte) bool { return bytes.HasPrefix(program, []byte("#!")) }

// commandIsCovered refuses a command that digests of files do not determine: one
// that runs a program from outside the model, or passes the interpreter an argument
// before the artifact.
func commandIsCovered(a backends.Artifact) error {
	m := a.Manifest
	if len(m.Command) == 0 {
		return nil
	}
	own := func(name string) bool {
		_, listed := a.Files[name]
		return listed || (m.Artifact != "" && name == m.Artifact)
	}
	if own(m.Command[0]) {
		return nil
	}
	if strings.Contains(m.Command[0], "/") || len(m.Command) < 2 || m.Artifact == "" || m.Command[1] != m.Artifact {
		return fmt.Errorf("%w: where backends.process.allow lists digests, command must be a file of the model, or an interpreter of the host's PATH, by its name, followed by the artifact", backends.ErrRefused)
	}
	return nil
}

// account is the user that runs plugins; nil: the host's.
type account struct {
	uid, gid int
	groups   []int // gid, and the other groups of a named user
	other    bool  // not the host's user
}

// lookUp finds the user that runs plugins.
func lookUp(name string) (*account, error) {
	own := os.Geteuid()
	if name == "" {
		if own == 0 {
			return nil, errors.New("this host runs as root, but plugins must not: name a user for them with backends.process.user (root, if you mean it), or run the host as another user")
		}
		return &account{uid: own, gid: os.Getegid()}, nil
	}
	u, err := find(name)
	if err != nil {
		return nil, err
	}
	u.other = u.uid != own
	if u.other && own != 0 {
		return nil, fmt.Errorf("backends.process.user is %s: only root can start processes of other users; run the host as %s, or leave it empty", name, name)
	}
	return u, nil
}

// find accepts a name, a number, or two numbers with a colon for user and group.
func find(name string) (*account, error) {
	id, group, both := strings.Cut(name, ":")
	if uid, err := strconv.ParseUint(id, 10, 31); err == nil {
		gid := uid
		if both {
			if gid, err = strconv.ParseUint(group, 10, 31); err != nil {
				return nil, fmt.Errorf("backends.process.user: %q is not a group number", group)
			}
		}
		return &account{uid: int(uid), gid: int(gid), groups: []int{int(gid)}}, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("backends.process.user: %w", err)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return nil, fmt.Errorf("backends.process.user: %w", err)
	}
	out := &account{uid: uid, gid: gid, groups: []int{gid}}
	ids, err := u.GroupIds() // such as groups that may use a GPU
	if err != nil {
		return nil, fmt.Errorf("backends.process.user: %w", err)
	}
	for _, id := range ids {
		if n, err := strconv.Atoi(id); err == nil && n != gid {
			out.groups = append(out.groups, n)
		}
	}
	return out, nil
}
