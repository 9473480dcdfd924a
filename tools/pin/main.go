// Command pin asks registries for the present digests of a Dockerfile's base images
// and adds them to the tags, so that a build uses the same images even if the tags
// move. It replaces existing digests.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func main() {
	check := flag.Bool("check", false, "write nothing, and fail if a base image has no digest")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "usage: pin [-check] DOCKERFILE...") }
	flag.Parse()
	if err := run(flag.Args(), *check); err != nil {
		fmt.Fprintln(os.Stderr, "pin:", err)
		os.Exit(1)
	}
}

func run(files []string, check bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var errs error
	for _, file := range files {
		if check {
			errs = errors.Join(errs, pinned(file))
			continue
		}
		errs = errors.Join(errs, pin(ctx, file, os.Stdout))
	}
	return errs
}

// pin adds the digests of a file's base images. If one cannot be found, it writes
// nothing.
func pin(ctx context.Context, file string, out io.Writer) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the Dockerfile: %w", err)
	}
	changed, err := rewrite(text, func(image string) (string, error) {
		ref, err := name.NewTag(image, name.StrictValidation)
		if err != nil {
			return "", fmt.Errorf("%s is not an image with a tag: %w", image, err)
		}
		d, err := remote.Head(ref, remote.WithContext(ctx), remote.WithAuth(authn.Anonymous))
		if err != nil {
			return "", fmt.Errorf("finding the digest of %s: %w", image, err)
		}
		fmt.Fprintf(out, "%s: %s\n", image, d.Digest)
		return image + "@" + d.Digest.String(), nil
	})
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if bytes.Equal(text, changed) {
		return nil
	}
	if err := os.WriteFile(file, changed, 0o644); err != nil {
		return fmt.Errorf("writing the Dockerfile: %w", err)
	}
	return nil
}

// pinned returns an error for each base image without a digest.
func pinned(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading the Dockerfile: %w", err)
	}
	var errs error
	for line := range strings.Lines(string(text)) {
		if image, _ := baseOf(line, stagesOf(text)); image != "" {
			if _, err := name.NewDigest(image, name.WeakValidation); err != nil {
				errs = errors.Join(errs, fmt.Errorf("%s: %s has no digest: run `make base-images`", file, image))
			}
		}
	}
	return errs
}

// rewrite replaces the base images of a Dockerfile, without their digests, with the
// results of resolve.
func rewrite(text []byte, resolve func(image string) (string, error)) ([]byte, error) {
	var out strings.Builder
	stages := stagesOf(text)
	for line := range strings.Lines(string(text)) {
		image, at := baseOf(line, stages)
		if image == "" {
			out.WriteString(line)
			continue
		}
		tag, _, _ := strings.Cut(image, "@")
		now, err := resolve(tag)
		if err != nil {
			return nil, err
		}
		out.WriteString(line[:at] + now + line[at+len(image):])
	}
	return []byte(out.String()), nil
}

// baseOf returns the image from another registry with which a line begins a stage,
// and its position in the line, or "".
func baseOf(line string, stages map[string]bool) (image string, at int) {
	fields := strings.Fields(line)
	if len(fields) < 2 || !strings.EqualFold(fields[0], "FROM") {
		return "", 0
	}
	for _, f := range fields[1:] {
		if strings.HasPrefix(f, "--") {
			continue
		}
		if stages[f] || f == "scratch" {
			return "", 0
		}
		return f, strings.Index(line, " "+f) + 1
	}
	return "", 0
}

func stagesOf(text []byte) map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if n := len(fields); n >= 4 && strings.EqualFold(fields[0], "FROM") && strings.EqualFold(fields[n-2], "AS") {
			out[fields[n-1]] = true
		}
	}
	return out
}
