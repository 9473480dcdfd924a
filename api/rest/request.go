package rest

import (
	"bytes"
	"context"
	"slices"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/internal/nearest"
	"github.com/pynomaly/pynomaly-runtime/internal/until"
	"github.com/pynomaly/pynomaly-runtime/runtime/predict"
)

// kind is a kind of request bodies.
type kind int

const (
	single    kind = iota // POST predict
	batch                 // POST predict/batch
	learn                 // rows without options, for learn and replay
	streaming             // a WebSocket message: a predict request with an id
)

var members = [...][]string{
	single:    {"data", "model_id", "version", "return_confidence", "return_explanation"},
	batch:     {"data", "model_id", "version", "batch_size", "return_confidence", "return_explanation", "fields"},
	learn:     {"data", "version"},
	streaming: {"data", "model_id", "version", "return_confidence", "return_explanation", "id"},
}

// request is a decoded body. Its rows are in the decoder of the leased model.
type request struct {
	predict.Call
	modelID, version string
	id               []byte // JSON, of a WebSocket message
	fields           fields // of a batch's predictions
	unbound          error  // why there is no model that the rows could be read for
}

// request returns an empty request for the context's principal. end must release it.
func (s *Server) request(ctx *until.Context, c predict.Call) *request {
	r, _ := s.requests.Get().(*request)
	if r == nil {
		r = new(request)
	}
	r.Call = c
	if p := ctx.Request().Principal; p != nil {
		r.Viewer = p
	}
	return r
}

// end releases a request, which must not be used any more.
func (s *Server) end(r *request) {
	s.pipeline.Release(&r.Call)
	*r = request{}
	s.requests.Put(r)
}

const (
	defaultBatchSize = 1000
	maxBatchSize     = 10000
	hintWindow       = 256
)

// read reads a body in one pass, directly into the matrix of the model that the body
// names. Members may be in any order: if the model is named after the data, read
// looks for the name at the body's end first. After an error no model is leased.
func (s *Server) read(ctx context.Context, r *request, body []byte, k kind) (err error) {
	sc := &jsonscan.Scanner{Data: body}
	r.Confidence = true
	if k != single && k != streaming {
		r.Chunk = defaultBatchSize
	}
	defer func() {
		if err != nil {
			s.pipeline.Release(&r.Call)
			if k == streaming && r.id == nil {
				r.id = findID(body)
			}
		}
	}()
	if !sc.Take('{') {
		if sc.Peek() == 0 && sc.Pos >= len(sc.Data) {
			return api.NewProblem(api.ValidationError, "", `the body is empty: send a JSON object such as {"data": {...}}`)
		}
		if e := compression(sc.Data); e != "" {
			return api.NewProblem(api.ValidationError, "Content-Encoding", "the body is compressed: send the header Content-Encoding: %s", e)
		}
		return api.NewProblem(api.ValidationError, "", `the body must be a JSON object such as {"data": {...}}`)
	}
	dataAt, usedID, usedVersion, err := s.readMembers(ctx, r, sc, k)
	if err != nil {
		return err
	}
	if dataAt < 0 {
		return api.NewProblem(api.ValidationError, "data", "is missing: give the features of %s", map[bool]string{true: "one row", false: "each row"}[k == single || k == streaming])
	}
	if usedID == r.modelID && usedVersion == r.version && (r.Model() != nil || r.unbound != nil) {
		return r.unbound
	}
	if err := s.pipeline.Bind(ctx, &r.Call, r.modelID, r.version); err != nil {
		return err //nolint:wrapcheck // it becomes a problem
	}
	return s.readData(r, &jsonscan.Scanner{Data: body, Pos: dataAt}, k)
}

// readMembers reads the members after a body's opening brace. It returns where the
// rows begin, or a negative number if there are none, and the model for which they
// were read.
func (s *Server) readMembers(ctx context.Context, r *request, sc *jsonscan.Scanner, k kind) (dataAt int, id, version string, err error) {
	var seen uint
	dataAt = -1
	for first := true; ; first = false {
		more, err := sc.More('}', first)
		if err != nil {
			return dataAt, "", "", err
		}
		if !more {
			return dataAt, id, version, sc.End()
		}
		key, err := member(sc, k, &seen)
		if err != nil {
			return dataAt, "", "", err
		}
		if key != "data" {
			if err := r.option(sc, key); err != nil {
				return dataAt, "", "", err
			}
			continue
		}
		sc.Peek()
		dataAt = sc.Pos
		if id, version, err = s.readEarly(ctx, r, sc, k); err != nil {
			return dataAt, "", "", err
		}
	}
}

// readEarly reads the rows for the model that the body has named so far, or seems to
// name after them, and returns that model. If there is no such model, it skips the
// rows.
func (s *Server) readEarly(ctx context.Context, r *request, sc *jsonscan.Scanner, k kind) (id, version string, err error) {
	id, version = r.modelID, r.version
	if mayFollow(sc.Data) {
		id, version = hinted(sc.Data, "model_id", id), hinted(sc.Data, "version", version)
	}
	if r.unbound = s.pipeline.Bind(ctx, &r.Call, id, version); r.unbound != nil {
		return id, version, sc.Skip() // the caller looks up the model that the body turns out to name
	}
	return id, version, s.readData(r, sc, k)
}

// member reads the name of a member and its colon. seen has a bit for each member of
// the kind that was given.
func member(sc *jsonscan.Scanner, k kind, seen *uint) (string, error) {
	name, err := sc.String(nil)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(members[k], func(m string) bool { return string(name) == m })
	if i < 0 {
		return "", api.NewProblem(api.ValidationError, clip(string(name)), "is not known%s", nearest.Hint(string(name), members[k]))
	}
	key := members[k][i]
	if *seen&(1<<i) != 0 {
		return "", api.NewProblem(api.ValidationError, key, "is given twice")
	}
	*seen |= 1 << i
	return key, sc.Colon()
}

// findID returns the id of a message that is refused for another reason, so that its
// sender can tell which message it was. It returns nil if there is no readable id.
func findID(body []byte) []byte {
	sc := &jsonscan.Scanner{Data: body}
	if !sc.Take('{') {
		return nil
	}
	for first := true; ; first = false {
		more, err := sc.More('}', first)
		if err != nil || !more {
			return nil
		}
		name, err := sc.String(nil)
		if err != nil || sc.Colon() != nil {
			return nil
		}
		if string(name) == "id" {
			var r request
			if r.option(sc, "id") != nil {
				return nil
			}
			return r.id
		}
		if sc.Skip() != nil {
			return nil
		}
	}
}

// mayFollow reports whether members may follow the rows. They cannot if the body
// ends with an array or object, because only data may be one.
func mayFollow(body []byte) bool {
	end := bytes.TrimRight(body, " \t\r\n}]")
	return bytes.Count(body[len(end):], []byte("}"))+bytes.Count(body[len(end):], []byte("]")) < 2
}

// hinted returns the value of a member that seems to be near the end of the body, or
// else value. The caller must verify it.
func hinted(body []byte, member, value string) string {
	if value != "" {
		return value
	}
	tail := body[max(0, len(body)-hintWindow):]
	at := bytes.LastIndex(tail, []byte(`"`+member+`"`))
	if at < 0 {
		return ""
	}
	sc := &jsonscan.Scanner{Data: tail, Pos: at + len(member) + 2}
	if sc.Colon() != nil {
		return ""
	}
	text, err := sc.String(nil)
	if err != nil {
		return ""
	}
	return string(text)
}

// readData reads the rows for the model that r is bound to.
func (s *Server) readData(r *request, sc *jsonscan.Scanner, k kind) error {
	c := sc.Peek()
	if k == single || k == streaming {
		if c != '{' && c != '[' {
			return api.NewProblem(api.ValidationError, "data", "must be an object of features by name, or an array of values in feature order")
		}
		if holdsRows(sc) {
			return api.NewProblem(api.ValidationError, "data", "%s", map[kind]string{
				single:    "has several rows: send them to /api/v1/predict/batch, and one row here",
				streaming: "has several rows: send one in each message",
			}[k])
		}
		start := sc.Pos
		if err := r.Rows().JSONRow(sc); err != nil {
			return err
		}
		r.Data = sc.Data[start:sc.Pos]
		if isEmpty(r.Data) {
			return api.NewProblem(api.ValidationError, "data", "is empty: give the row's features")
		}
		return nil
	}
	if c != '[' {
		return api.NewProblem(api.ValidationError, "data", "must be an array of rows; one row goes to /api/v1/predict")
	}
	start := sc.Pos
	if err := r.Rows().JSONRows(sc, s.cfg.MaxRows); err != nil {
		return err
	}
	r.Data = sc.Data[start:sc.Pos]
	if r.Rows().Total() == 0 {
		return api.NewProblem(api.ValidationError, "data", "is empty: give at least one row")
	}
	if r.Rows().Flat() {
		return api.NewProblem(api.ValidationError, "data", "must be an array of rows, each an object or an array, such as [[1, 2], [3, 4]]; one row goes to /api/v1/predict")
	}
	return nil
}

// holdsRows reports whether a value is an array of arrays or objects.
func holdsRows(sc *jsonscan.Scanner) bool {
	rest := sc.Data[sc.Pos:]
	if len(rest) == 0 || rest[0] != '[' {
		return false
	}
	for _, c := range rest[1:] {
		switch c {
		case ' ', '\t', '\n', '\r':
		default:
			return c == '[' || c == '{'
		}
	}
	return false
}

// isEmpty reports whether an object or array is empty.
func isEmpty(value []byte) bool {
	return len(bytes.TrimSpace(value[1:len(value)-1])) == 0
}

// option reads the value of a member other than data.
func (r *request) option(sc *jsonscan.Scanner, key string) error {
	sc.Peek()
	start := sc.Pos
	switch key {
	case "model_id":
		return r.text(sc, key, &r.modelID)
	case "version":
		return r.text(sc, key, &r.version)
	case "return_confidence":
		return boolean(sc, key, &r.Confidence)
	case "return_explanation":
		return boolean(sc, key, &r.Explanation)
	case "fields":
		return r.fields.read(sc)
	case "batch_size":
		if c := sc.Peek(); c != '-' && (c < '0' || c > '9') {
			if err := sc.Skip(); err != nil {
				return err
			}
			return api.NewProblem(api.ValidationError, key, "must be a whole number from 1 to %d", maxBatchSize)
		}
		n, err := sc.Number()
		if err != nil {
			return err
		}
		size, whole := n.Int64()
		if !whole || size < 1 || size > maxBatchSize {
			return api.NewProblem(api.ValidationError, key, "must be a whole number from 1 to %d", maxBatchSize)
		}
		r.Chunk = int(size)
		return nil
	default: // id
		const most = 256
		if err := sc.Skip(); err != nil {
			return err
		}
		if value := sc.Data[start:sc.Pos]; len(value) > most || value[0] == '{' || value[0] == '[' {
			return api.NewProblem(api.ValidationError, key, "must be a string or number of at most %d bytes", most)
		}
		r.id = bytes.Clone(sc.Data[start:sc.Pos])
		return nil
	}
}

// text reads a model id, version or alias. null counts as absent.
func (r *request) text(sc *jsonscan.Scanner, key string, to *string) error {
	if sc.Peek() == 'n' {
		return sc.Literal("null")
	}
	if sc.Peek() != '"' {
		if err := sc.Skip(); err != nil {
			return err
		}
		return api.NewProblem(api.ValidationError, key, "must be a string")
	}
	b, err := sc.String(nil)
	if err != nil {
		return err
	}
	if !validName(b, key == "version") {
		if key == "version" {
			return api.NewProblem(api.ValidationError, key, "must be a semantic version, an alias or latest")
		}
		return api.NewProblem(api.ValidationError, key, "must be 1 to 128 letters, digits, - and _")
	}
	*to = string(b)
	return nil
}

// validName reports whether b matches [a-zA-Z0-9\-_]+, in which versions may also
// have dots.
func validName(b []byte, dot bool) bool {
	for _, c := range b {
		ok := 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || (dot && c == '.')
		if !ok {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 128
}

func boolean(sc *jsonscan.Scanner, key string, to *bool) error {
	switch sc.Peek() {
	case 't':
		*to = true
		return sc.Literal("true")
	case 'f':
		*to = false
		return sc.Literal("false")
	}
	if err := sc.Skip(); err != nil {
		return err
	}
	return api.NewProblem(api.ValidationError, key, "must be true or false")
}

// clip shortens a client's text for an error message.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
