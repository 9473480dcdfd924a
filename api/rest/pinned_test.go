package rest_test

import (
	"maps"
	"strconv"
	"testing"

	"github.com/fasthttp/websocket"

	"github.com/pynomaly/pynomaly-runtime/api/rest"
)

// TestPinned checks that requests which name a version are counted, and those which
// name one that the host does not serve, through each door.
func TestPinned(t *testing.T) {
	post := func(path, body string) sent { return sent{path: path, body: body} }
	for _, c := range []struct {
		name    string
		send    sent
		message bool // over a WebSocket
		pinned  uint64
		unknown map[string]uint64
	}{
		{name: "no version", send: post("/api/v1/predict", `{"model_id":"m","data":[1]}`)},
		{name: "the newest", send: post("/api/v1/predict", `{"model_id":"m","version":"latest","data":[1]}`)},
		{name: "this version", send: post("/api/v1/predict", `{"model_id":"m","version":"1.1.0","data":[1]}`), pinned: 1},
		{name: "this version after the rows", send: post("/api/v1/predict", `{"data":[1],"version":"1.1.0"}`), pinned: 1},
		{name: "a batch", send: post("/api/v1/predict/batch", `{"version":"1.1.0","data":[[1],[2]]}`), pinned: 1},
		{name: "a replay", send: post("/api/v1/models/m/samples", `{"version":"1.1.0","data":[[1]]}`)},
		{name: "an old version", send: post("/api/v1/predict", `{"model_id":"m","version":"1.0.0","data":[1]}`), unknown: map[string]uint64{"1.0.0": 1}},
		{name: "an old version after the rows", send: post("/api/v1/predict", `{"data":[1],"version":"1.0.0"}`), unknown: map[string]uint64{"1.0.0": 1}},
		{name: "a batch for an old version", send: post("/api/v1/predict/batch", `{"version":"1.0.0","data":[[1],[2]]}`), unknown: map[string]uint64{"1.0.0": 1}},
		{name: "no version at all", send: post("/api/v1/predict", `{"model_id":"m","version":"prod","data":[1]}`), unknown: map[string]uint64{"other": 1}},
		{name: "another model", send: post("/api/v1/predict", `{"model_id":"n","version":"1.0.0","data":[1]}`)},
		{name: "WebSocket", message: true, send: sent{body: `{"version":"1.1.0","data":[1]}`}, pinned: 1},
		{name: "WebSocket for an old version", message: true, send: sent{body: `{"version":"1.0.0","data":[1]}`}, unknown: map[string]uint64{"1.0.0": 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := serveMoody(t, func(c *rest.Config) { c.Samples = 1 }, "1.1.0")
			if c.message {
				s := dialSocket(t, h)
				if err := s.WriteMessage(websocket.TextMessage, []byte(c.send.body)); err != nil {
					t.Fatal(err)
				}
				if _, _, err := s.ReadMessage(); err != nil {
					t.Fatal(err)
				}
			} else {
				do(t, h, c.send)
			}
			streamed := uint64(0)
			if c.message && c.unknown == nil {
				streamed = 1
			}
			if s := statsOf(t, h, "?version=1.1.0"); s.Streamed != streamed {
				t.Errorf("%d streamed, want %d", s.Streamed, streamed)
			} else if s.Pinned != c.pinned || !maps.Equal(s.UnknownVersions, c.unknown) {
				t.Errorf("%d pinned, unknown %v; want %d, %v", s.Pinned, s.UnknownVersions, c.pinned, c.unknown)
			}
		})
	}
	t.Run("many names", func(t *testing.T) {
		h := serveMoody(t, nil, "1.1.0")
		for i := range 300 {
			do(t, h, sent{path: "/api/v1/predict", body: `{"version":"0.0.` + strconv.Itoa(i) + `","data":[1]}`})
		}
		s := statsOf(t, h, "")
		sum := uint64(0)
		for _, n := range s.UnknownVersions {
			sum += n
		}
		if len(s.UnknownVersions) > 257 || sum != 300 || s.UnknownVersions["other"] == 0 {
			t.Errorf("%d names, %d requests, %d others", len(s.UnknownVersions), sum, s.UnknownVersions["other"])
		}
	})
}
