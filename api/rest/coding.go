package rest

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// acceptedCodings are the content codings of bodies, as the header Accept-Encoding
// lists them.
const acceptedCodings = "gzip, zstd"

// zstdWindow is the largest window of a zstd body (RFC 9659), which its decoder may
// hold in memory.
const zstdWindow = 8 << 20

// window returns the largest window of a zstd body: where few bytes of requests may be
// held, a smaller one.
func (s *Server) window() int64 {
	if s.budget.most == 0 {
		return zstdWindow
	}
	return min(zstdWindow, max(s.budget.most/4, freeBytes))
}

// coding is a content coding of a body.
type coding uint8

const (
	plain coding = iota
	gzipped
	zstandard
)

// parseCoding returns the coding that a Content-Encoding header names.
func parseCoding(header []byte) (coding, bool) {
	if len(header) == 0 {
		return plain, true
	}
	switch strings.ToLower(strings.TrimSpace(string(header))) {
	case "identity":
		return plain, true
	case "gzip", "x-gzip":
		return gzipped, true
	case "zstd":
		return zstandard, true
	}
	return plain, false
}

// arriving reads what arrives of a coded body, and remembers why that ended.
type arriving struct {
	from   io.Reader
	length int // announced; negative: unknown
	most   int // bytes
	read   int
	err    error // the reader's own; nil: it has not ended
}

// Read implements io.Reader.
func (a *arriving) Read(p []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	n, err := a.from.Read(p)
	a.read += n
	switch {
	case a.read > a.most:
		err = errTooLong
	case errors.Is(err, io.EOF) && a.read < a.length:
		err = io.ErrUnexpectedEOF
	}
	a.err = err
	return n, err
}

var errTooLong = errors.New("the coded body is too long")

// codecs are reused decoders of bodies.
type codecs struct{ gzip, zstd sync.Pool }

// readCoded reads a coded body. What it decodes is bounded like any body, and so are the
// coded bytes. The error is that of readAll.
func (s *Server) readCoded(a *account, to *buffer, from io.Reader, length int, as coding) error {
	in := &arriving{from: from, length: length, most: s.cfg.BodyLimit}
	var err error
	switch as {
	case gzipped:
		err = s.readGzip(a, to, in)
	default:
		err = s.readZstd(a, to, in)
	}
	var problem *api.Problem
	switch {
	case err == nil, errors.As(err, &problem):
		return err
	case errors.Is(in.err, errTooLong):
		return s.tooLarge()
	case in.err != nil && !errors.Is(in.err, io.EOF): // it did not arrive
		return in.err
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return api.NewProblem(api.ValidationError, "Content-Encoding", "the body needs a window of more than %d bytes: compress it with a smaller one, or in several frames", s.window())
	}
	return api.NewProblem(api.ValidationError, "Content-Encoding", "the body is not what Content-Encoding says: %v", err)
}

func (s *Server) readGzip(a *account, to *buffer, in io.Reader) (err error) {
	decoder, _ := s.codecs.gzip.Get().(*gzip.Reader)
	if decoder == nil {
		decoder = new(gzip.Reader)
	}
	defer func() {
		_ = decoder.Reset(strings.NewReader("")) // it must not keep the connection
		s.codecs.gzip.Put(decoder)
	}()
	if err := decoder.Reset(in); err != nil {
		return fmt.Errorf("reading gzip: %w", notEnd(err))
	}
	return s.readAll(a, to, decoder, -1)
}

func (s *Server) readZstd(a *account, to *buffer, in io.Reader) error {
	// The window is held once all has arrived, and not for a sender that stops.
	arrived := s.buffers.get(firstBytes)
	defer s.buffers.put(arrived)
	if err := s.readAll(a, arrived, in, -1); err != nil {
		return err
	}
	a.beside = a.charged
	defer s.release(a)
	window := s.window()
	if err := s.charge(a, window); err != nil {
		return err
	}
	a.beside += window
	decoder, _ := s.codecs.zstd.Get().(*zstd.Decoder)
	if decoder == nil {
		var err error
		decoder, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(uint64(window)), zstd.WithDecoderMaxMemory(uint64(window)))
		if err != nil {
			return fmt.Errorf("making a decoder: %w", err)
		}
	}
	defer s.codecs.zstd.Put(decoder)
	if err := decoder.Reset(bytes.NewReader(arrived.b)); err != nil {
		return fmt.Errorf("reading zstd: %w", notEnd(err))
	}
	err := s.readAll(a, to, decoder, -1)
	_ = decoder.Reset(nil) // it must not keep the connection
	return err
}

// notEnd returns an error that is not the end of a stream.
func notEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// compression returns the coding that a body begins as, by its magic number, or "".
func compression(body []byte) string {
	switch {
	case bytes.HasPrefix(body, []byte("\x1f\x8b")):
		return "gzip"
	case bytes.HasPrefix(body, []byte("\x28\xb5\x2f\xfd")):
		return "zstd"
	}
	return ""
}
