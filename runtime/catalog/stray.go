package catalog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// maxStrays is the largest number of strays that a scan reports. The others are
// counted in the error of the last one.
const maxStrays = 100

// otherModels has the extensions of files that hold models for other programs.
var otherModels = []string{
	".pkl", ".pickle", ".joblib", ".skops", ".pt", ".pth", ".h5", ".keras", ".pb", ".tflite", ".pmml", ".cbm", ".ubj", ".bst", ".safetensors", ".mlmodel", ".ort",
}

// stray returns a Found for a file or directory that looks like a model and is none
// because of its name or place.
func stray(name string, info fs.FileInfo, why string) Found {
	text := strings.ToValidUTF8(name, "\uFFFD") // it becomes a label
	f := Found{Location: Location{ID: text, Version: "0.0.0", File: name}, Stray: true, Err: errors.New(text + " " + why)}
	if info != nil {
		f.Fingerprint, f.Changed = fingerprint(name, info), changed(info)
	}
	return f
}

// Misnamed returns why a file in a models directory is not served because of its
// name, or nil if it is, or does not look like a model.
func Misnamed(file string) error {
	if why := misnamed(file); why != "" {
		return errors.New(file + " " + why)
	}
	return nil
}

// misnamed is the text of Misnamed behind the file's name.
func misnamed(file string) string {
	ext := path.Ext(file)
	lower := strings.ToLower(ext)
	if _, known := bareBackends[lower]; !known {
		switch {
		case file == manifest.FileName:
			return "stands in the models directory itself: move it and its files to a directory <id>/<version>"
		case slices.Contains(otherModels, lower):
			return "is not served: hosts serve .onnx and .wasm files. Export the model to ONNX, for instance with skl2onnx, or let a process plugin load the file (docs/process.md)"
		}
		return ""
	}
	if _, _, ok := BareName(file); ok {
		return ""
	}
	stem := strings.TrimSuffix(file, ext)
	id, version, at := strings.Cut(stem, "@")
	var why string
	switch {
	case at && completeVersion(version) == "":
		return "is not served: what follows the @ must be a semantic version, as in " + orModel(betterID(id)) + "@1.0.0" + lower
	case at && !manifest.ValidVersion(version):
		why = "a version has three numbers and no v, as 1.0.0 has"
	case !manifest.ValidID(id):
		why = idRule(id)
	default:
		why = "the ending is in lower case"
	}
	return "is not served: " + why + ". Rename it to " + betterName(stem) + lower
}

// idRule says what is wrong with an invalid id.
func idRule(id string) string {
	if len(id) > manifest.MaxIDLength {
		return fmt.Sprintf("an id has at most %d characters", manifest.MaxIDLength)
	}
	return "an id has only the letters a to z and A to Z, digits, - and _, and begins with a letter or digit"
}

// CheckName returns what is wrong with the id and the version of a model, with ones that
// would do, or nil.
func CheckName(id, version string) error {
	var errs []error
	if !manifest.ValidID(id) {
		errs = append(errs, fmt.Errorf("the id %q is not valid: %s, such as %s", id, idRule(id), orModel(betterID(id))))
	}
	if !manifest.ValidVersion(version) {
		errs = append(errs, fmt.Errorf("the version %q is not valid: it must be a semantic version without build metadata, such as %s", version, cmp.Or(completeVersion(version), "1.0.0")))
	}
	return errors.Join(errs...)
}

// versionAtEnd matches a name that ends with a version.
var versionAtEnd = regexp.MustCompile(`^(.+?)[-_. ](v[0-9]+(?:\.[0-9]+){0,2}|[0-9]+(?:\.[0-9]+){1,2})$`)

// betterName returns a name without its ending that would do.
func betterName(stem string) string {
	id, version, at := strings.Cut(stem, "@")
	if !at {
		if m := versionAtEnd.FindStringSubmatch(stem); m != nil {
			id, version = m[1], m[2]
		}
	}
	id = orModel(betterID(id))
	if version = completeVersion(version); version != "" {
		return id + "@" + version
	}
	return id
}

func orModel(id string) string {
	if id == "" {
		return "model"
	}
	return id
}

// betterID returns the valid id that is closest to a text, or "".
func betterID(text string) string {
	id := strings.Trim(regexp.MustCompile(`[^a-zA-Z0-9_]+`).ReplaceAllString(text, "-"), "-_")
	return id[:min(len(id), manifest.MaxIDLength)]
}

// completeVersion returns the semantic version that a text such as v1, 1.2 or v1.0.0
// means, or "".
func completeVersion(text string) string {
	version := strings.TrimPrefix(text, "v")
	for range 3 {
		if manifest.ValidVersion(version) {
			return version
		}
		version += ".0"
	}
	return ""
}

// strayDir returns the stray for a directory whose name is not an id, if there is a
// model in it.
func strayDir(root *os.Root, dir string, info fs.FileInfo) []Found {
	if !holdsModel(root, dir, 1) {
		return nil
	}
	if manifest.ValidVersion(dir) {
		return []Found{stray(dir, info, "is a version and stands in the models directory itself: name the directory above as the models directory, or move it into a directory that is named by the model's id")}
	}
	return []Found{stray(dir, info, "is not served: an id has only the letters a to z and A to Z, digits, - and _, and begins with a letter or digit. Rename it to "+orModel(betterID(dir))+", in model.yaml, too")}
}

// holdsModel reports whether there is a manifest or an artifact in a directory, or
// in those directly below it.
func holdsModel(root *os.Root, dir string, deeper int) bool {
	entries, err := list(root, dir)
	if err != nil {
		return false
	}
	for _, e := range entries[:min(len(entries), maxEntries)] {
		_, artifact := bareBackends[strings.ToLower(path.Ext(e))]
		if artifact || e == manifest.FileName {
			return true
		}
		if info, err := root.Stat(path.Join(dir, e)); err == nil && info.IsDir() && deeper > 0 && holdsModel(root, path.Join(dir, e), deeper-1) {
			return true
		}
	}
	return false
}

// strayFile returns the stray for the files of a model's directory that are a version
// without a directory of its own: the manifest, else the first artifact, else, with
// others, the first model for another program.
func strayFile(root *os.Root, id string, entries []string, others bool) []Found {
	var artifact string
	for _, e := range entries {
		ext := strings.ToLower(path.Ext(e))
		_, known := bareBackends[ext]
		if e != manifest.FileName && !known && (!others || !slices.Contains(otherModels, ext)) {
			continue
		}
		info, err := root.Stat(path.Join(id, e))
		switch {
		case err != nil || !info.Mode().IsRegular():
		case e == manifest.FileName:
			return []Found{stray(path.Join(id, e), info, fmt.Sprintf("is not served: a version has a directory of its own. Move the files in %s to a directory %s/<version>, such as %s/1.0.0", id, id, id))}
		case artifact == "" || slices.Contains(otherModels, strings.ToLower(path.Ext(artifact))):
			artifact = e
		}
	}
	if artifact == "" {
		return nil
	}
	name := path.Join(id, artifact)
	info, err := root.Stat(name)
	if err != nil {
		return nil
	}
	ext := strings.ToLower(path.Ext(artifact))
	if slices.Contains(otherModels, ext) {
		return []Found{stray(name, info, misnamed(artifact))}
	}
	return []Found{stray(name, info, fmt.Sprintf("is not served: a version has a directory of its own. Move it to %s%s beside the directory, or write a version of it with `pynomaly-runtime model init`", id, ext))}
}

// bounded returns the first strays. The error of the last one counts the others.
func bounded(strays []Found) []Found {
	more := len(strays) - maxStrays
	if more <= 0 {
		return strays
	}
	strays = strays[:maxStrays]
	last := &strays[maxStrays-1]
	last.Err = fmt.Errorf("%w (and %d more files and directories are not served)", last.Err, more)
	return strays
}
