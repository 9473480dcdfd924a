package rest

import (
	"fmt"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/api/access"
	"github.com/pynomaly/pynomaly-runtime/api/access/limits"
)

// Action is what a request or a message does to the host. It decides who may send
// it.
type Action string

// The actions of routes and of WebSocket messages.
const (
	ActionPublic    Action = "public" // anybody may
	ActionPredict   Action = "predict"
	ActionRead      Action = "read"
	ActionMetrics   Action = "metrics"
	ActionLearn     Action = "learn"
	ActionLoadModel Action = "load_model"
	ActionAliases   Action = "aliases"
	ActionJobs      Action = "jobs"
	ActionSamples   Action = "samples"
	ActionAdmin     Action = "admin"
)

// ModelNaming says where a request names its model.
type ModelNaming int

// The places where requests name their model.
const (
	NoModel     ModelNaming = iota // it concerns no model, or all models
	ModelInPath                    // as {model_id}
	ModelInBody                    // as the member model_id; absent means the default
)

// Body says what a request carries.
type Body int

// The bodies of requests.
const (
	NoBody   Body = iota // a body is not read
	JSONBody             // application/json
)

// Route is an entry of the table of everything that a Server answers.
type Route struct {
	Method string
	Path   string // as in OpenAPI, with {model_id}
	Action Action
	Model  ModelNaming
	Body   Body
	// Messages are the kinds of WebSocket messages of an upgraded connection. It is
	// empty if the route is not a WebSocket.
	Messages []Message
}

// Message is a kind of WebSocket messages.
type Message struct {
	Kind   string
	Action Action
	Model  ModelNaming
}

// route is an entry with its handler.
type route struct {
	Route
	handler fiber.Handler

	name    string        // of its spans
	action  access.Action // 0: anybody may
	class   limits.Class  // class of its requests for limits
	limited bool
}

// changes reports whether the route changes the host.
func (r *route) changes() bool {
	switch r.action {
	case access.Learn, access.LoadModel, access.Aliases, access.Jobs, access.Admin, access.Samples:
		return true
	}
	return false
}

// audited reports whether the route's requests are audited: those that change the
// host.
func (r *route) audited() bool { return r.changes() && r.action != access.Samples }

// table returns all routes. The server answers nothing else.
func (s *Server) table(reg *prometheus.Registry, described openAPI) []route {
	const model = "/api/v1/models/{model_id}"
	get, post, remove := fiber.MethodGet, fiber.MethodPost, fiber.MethodDelete
	row := Message{Kind: "predict", Action: ActionPredict, Model: ModelInBody}
	return []route{
		{Route: Route{Method: post, Path: "/api/v1/predict", Action: ActionPredict, Model: ModelInBody, Body: JSONBody}, handler: s.predict},
		{Route: Route{Method: post, Path: "/api/v1/predict/batch", Action: ActionPredict, Model: ModelInBody, Body: JSONBody}, handler: s.predictBatch},
		{Route: Route{Method: get, Path: streamPath, Action: ActionPredict, Messages: []Message{row}}, handler: s.stream(socketMessage{Message: row, answer: s.message})},
		{Route: Route{Method: get, Path: "/api/v1/models", Action: ActionRead}, handler: s.listModels},
		{Route: Route{Method: get, Path: model, Action: ActionRead, Model: ModelInPath}, handler: s.getModel},
		{Route: Route{Method: get, Path: model + "/stats", Action: ActionRead, Model: ModelInPath}, handler: s.getStats},
		{Route: Route{Method: get, Path: model + "/samples", Action: ActionSamples, Model: ModelInPath}, handler: s.getSamples},
		{Route: Route{Method: post, Path: model + "/samples", Action: ActionSamples, Model: ModelInPath, Body: JSONBody}, handler: s.replay},
		{Route: Route{Method: post, Path: model + "/load", Action: ActionLoadModel, Model: ModelInPath}, handler: s.loadModel},
		{Route: Route{Method: remove, Path: model + "/unload", Action: ActionLoadModel, Model: ModelInPath}, handler: s.unloadModel},
		{Route: Route{Method: post, Path: model + "/learn", Action: ActionLearn, Model: ModelInPath, Body: JSONBody}, handler: s.learn},
		{Route: Route{Method: get, Path: "/health", Action: ActionPublic}, handler: s.health},
		{Route: Route{Method: get, Path: "/ready", Action: ActionPublic}, handler: s.ready},
		{Route: Route{Method: get, Path: "/metrics", Action: ActionMetrics}, handler: s.metricsHandler(reg)},
		{Route: Route{Method: get, Path: "/openapi.json", Action: ActionRead}, handler: described.json},
		{Route: Route{Method: get, Path: "/openapi.yaml", Action: ActionRead}, handler: described.yaml},
	}
}

// routes registers the table.
func (s *Server) routes(reg *prometheus.Registry) error {
	described, err := openAPIHandlers()
	if err != nil {
		return err
	}
	s.app.Use(recover.New(recover.Config{EnableStackTrace: true, StackTraceHandler: func(c *fiber.Ctx, e any) {
		s.cfg.Log.Error("handler panicked", append([]any{"path", c.Path(), "panic", fmt.Sprint(e), "request_id", s.requestID(c)}, spanOf(c).Log()...)...)
	}}))
	s.app.Use(s.around)
	s.listed = s.table(reg, described)
	for i := range s.listed {
		r := &s.listed[i]
		if err := s.check(r); err != nil {
			return err
		}
		s.app.Add(r.Method, strings.ReplaceAll(r.Path, "{model_id}", ":id"), s.behind(r))
	}
	s.app.Use(s.noRoute)
	return nil
}

// check refuses a route without a valid action.
func (s *Server) check(r *route) error {
	var err error
	if r.action, err = r.Action.parse(); err != nil {
		return fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	}
	r.name = r.Method + " " + r.Path
	r.class, r.limited = classOf(&r.Route, r.action)
	for _, m := range r.Messages {
		if _, err := m.Action.parse(); err != nil {
			return fmt.Errorf("messages %q of %s: %w", m.Kind, r.Path, err)
		}
	}
	return nil
}

// parse returns the action of package access, or 0 if anybody may do it.
func (a Action) parse() (access.Action, error) {
	if a == ActionPublic {
		return 0, nil
	}
	return access.ParseAction(string(a)) //nolint:wrapcheck // it says all
}

// Routes returns the table.
func (s *Server) Routes() []Route {
	out := make([]Route, len(s.listed))
	for i := range s.listed {
		out[i] = s.listed[i].Route
	}
	return out
}

// noRoute answers paths and methods without a route.
func (s *Server) noRoute(c *fiber.Ctx) error {
	path := c.Path()
	allowed := s.methodsOf(path)
	if len(allowed) == 0 {
		return s.fail(c, nil, api.NewProblem(api.NotFound, "", "there is nothing at %s: /openapi.json lists the routes", clip(path)))
	}
	for _, m := range allowed {
		c.Append(fiber.HeaderAllow, m)
	}
	return s.fail(c, nil, api.NewProblem(api.MethodNotAllowed, "", "%s is not allowed here", clip(c.Method())))
}
