// Package nearest finds the known name that somebody most likely meant.
package nearest

import (
	"fmt"
	"sort"
	"strings"
)

const maxLength = 64

// Name returns the candidate with the smallest edit distance to s if the distance is
// at most a third of the length of s (and at least 1), else "". It ignores case.
func Name(s string, candidates []string) string {
	if len(s) == 0 || len(s) > maxLength {
		return ""
	}
	best, least := "", max(1, len(s)/3)+1
	for _, c := range candidates {
		if len(c) > maxLength {
			continue
		}
		d := distance(strings.ToLower(s), strings.ToLower(c))
		if d < least || (d == least && best != "" && c < best) {
			best, least = c, d
		}
	}
	return best
}

// Hint returns the end of a sentence that refuses s: the nearest candidate, or all
// candidates if there are few.
func Hint(s string, candidates []string) string {
	if c := Name(s, candidates); c != "" {
		return fmt.Sprintf("; did you mean %q?", c)
	}
	if len(candidates) == 0 || len(candidates) > 12 {
		return ""
	}
	sorted := append([]string(nil), candidates...)
	sort.Strings(sorted)
	return "; known are " + strings.Join(sorted, ", ")
}

// distance counts insertions, deletions, substitutions and swaps of neighbouring
// bytes (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := last[j]
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
