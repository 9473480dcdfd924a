// Package printable makes texts of others, such as names in a manifest or the output
// of a plugin, safe for a terminal, a log or an answer.
package printable

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns text as one line: every unprintable character becomes a space.
func Line(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "\uFFFD")))
}

// Lines returns text with its line ends and tabs, and a space for every other
// unprintable character. It is for logs, which escape line ends.
func Lines(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "\uFFFD")))
}

// Short is Line for at most most bytes of text. Dots replace the rest.
func Short(text string, most int) string {
	if len(text) <= most {
		return Line(text)
	}
	for n := 1; n < utf8.UTFMax && most > 0 && !utf8.RuneStart(text[most]); n++ {
		most--
	}
	return Line(text[:most]) + "..."
}

// Writer returns a writer that passes text on to w without what a terminal would
// interpret: control characters other than newlines and tabs, and characters that
// change the direction of writing, become spaces. A program that puts others' texts
// into lines must use Line as well, so that a text cannot look like several lines.
//
// A character must not be split between two calls of Write.
func Writer(w io.Writer) io.Writer { return &writer{w} }

type writer struct{ to io.Writer }

// Write implements io.Writer.
func (w *writer) Write(text []byte) (int, error) {
	clean := text
	if !isClean(text) {
		clean = []byte(strings.Map(replace, strings.ToValidUTF8(string(text), "\uFFFD")))
	}
	if _, err := w.to.Write(clean); err != nil {
		return 0, fmt.Errorf("writing text: %w", err)
	}
	return len(text), nil
}

func isClean(text []byte) bool {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if (r == utf8.RuneError && n == 1) || replace(r) != r {
			return false
		}
		text = text[n:]
	}
	return true
}

func replace(r rune) rune {
	switch {
	case r == '\n' || r == '\t':
		return r
	case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
		return ' '
	}
	return r
}
