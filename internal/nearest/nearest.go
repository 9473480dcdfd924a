// Package nearest finds the known name that somebody most likely meant.
package nearest

import (
	"fmt"
	"sort"
	"strings"
)

const maxLength = 64

// Name returns the candidate with the smallest edit distance to s, if it is at
// most a third of the length of s (and at least 1), else "". Case is ignored.
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

// Hint is the end of a sentence that complains of s: the nearest candidate, or
// all candidates where there are few.
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

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
