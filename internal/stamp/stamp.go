// Package stamp formats times for the API and the logs without the layout parsing of
// package time.
package stamp

import "time"

// Append appends t in UTC as RFC 3339 with milliseconds: 2006-01-02T15:04:05.000Z.
func Append(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	b = digits(b, year, 4)
	b = digits(append(b, '-'), int(month), 2)
	b = digits(append(b, '-'), day, 2)
	b = digits(append(b, 'T'), hour, 2)
	b = digits(append(b, ':'), minute, 2)
	b = digits(append(b, ':'), second, 2)
	b = digits(append(b, '.'), t.Nanosecond()/1e6, 3)
	return append(b, 'Z')
}

// digits appends the last n decimal digits of v.
func digits(b []byte, v, n int) []byte {
	var text [4]byte
	for i := n - 1; i >= 0; i-- {
		text[i] = byte('0' + v%10)
		v /= 10
	}
	return append(b, text[:n]...)
}
