package rest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/recover"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pynomaly/pynomaly-runtime/api"
)

// Action is what a caller does to the host with a request or a message. It decides who
// may send it.
type Action string

// The actions of routes and of WebSocket messages.
const (
	ActionPublic    Action = "public" // anybody may, whoever it is
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

// ModelNaming says where a request names the model that it is about.
type ModelNaming int

// The places where requests name their model.
const (
	NoModel     ModelNaming = iota // it is about none, or about all
	ModelInPath                    // as {model_id}
	ModelInBody                    // as the member model_id, or not at all for the default
)

// Body says what a request carries.
type Body int

// The bodies of requests.
const (
	NoBody   Body = iota // one that comes all the same is not read
	JSONBody             // application/json
)

// Route is one entry of the table of all that a Server answers.
type Route struct {
	Method string
	Path   string // as OpenAPI writes it, with {model_id}
	Action Action
	Model  ModelNaming
	Body   Body
	// Messages are the kinds of WebSocket messages that are taken once a connection is
	// upgraded; none: the route is no WebSocket.
	Messages []Message
}

// Message is a kind of WebSocket messages.
type Message struct {
	Kind   string
	Action Action
	Model  ModelNaming
}

// route is an entry with what answers it.
type route struct {
	Route
	handler fiber.Handler
}

// table lists every route. Nothing is answered that is not in it.
func (s *Server) table(reg *prometheus.Registry, described openAPI) []route {
	const model = "/api/v1/models/{model_id}"
	get, post, remove := fiber.MethodGet, fiber.MethodPost, fiber.MethodDelete
	row := Message{Kind: "predict", Action: ActionPredict, Model: ModelInBody}
	return []route{
		{Route{Method: post, Path: "/api/v1/predict", Action: ActionPredict, Model: ModelInBody, Body: JSONBody}, s.predict},
		{Route{Method: post, Path: "/api/v1/predict/batch", Action: ActionPredict, Model: ModelInBody, Body: JSONBody}, s.predictBatch},
		{Route{Method: get, Path: streamPath, Action: ActionPredict, Messages: []Message{row}}, s.stream(socketMessage{row, s.message})},
		{Route{Method: get, Path: "/api/v1/models", Action: ActionRead}, s.listModels},
		{Route{Method: get, Path: model, Action: ActionRead, Model: ModelInPath}, s.getModel},
		{Route{Method: get, Path: model + "/stats", Action: ActionRead, Model: ModelInPath}, s.getStats},
		{Route{Method: get, Path: model + "/samples", Action: ActionSamples, Model: ModelInPath}, s.getSamples},
		{Route{Method: post, Path: model + "/samples", Action: ActionSamples, Model: ModelInPath, Body: JSONBody}, s.replay},
		{Route{Method: post, Path: model + "/load", Action: ActionLoadModel, Model: ModelInPath}, s.loadModel},
		{Route{Method: remove, Path: model + "/unload", Action: ActionLoadModel, Model: ModelInPath}, s.unloadModel},
		{Route{Method: post, Path: model + "/learn", Action: ActionLearn, Model: ModelInPath, Body: JSONBody}, s.learn},
		{Route{Method: get, Path: "/health", Action: ActionPublic}, s.health},
		{Route{Method: get, Path: "/ready", Action: ActionPublic}, s.ready},
		{Route{Method: get, Path: "/metrics", Action: ActionMetrics}, metricsHandler(reg)},
		{Route{Method: get, Path: "/openapi.json", Action: ActionRead}, described.json},
		{Route{Method: get, Path: "/openapi.yaml", Action: ActionRead}, described.yaml},
	}
}

// routes registers the table.
func (s *Server) routes(reg *prometheus.Registry) error {
	described, err := openAPIHandlers()
	if err != nil {
		return err
	}
	s.app.Use(recover.New(recover.Config{EnableStackTrace: true, StackTraceHandler: func(c *fiber.Ctx, e any) {
		s.cfg.Log.Error("handler panicked", "path", c.Path(), "panic", fmt.Sprint(e))
	}}))
	s.app.Use(s.around)
	s.listed = s.table(reg, described)
	for i := range s.listed {
		r := &s.listed[i]
		if err := s.check(&r.Route); err != nil {
			return err
		}
		s.app.Add(r.Method, strings.ReplaceAll(r.Path, "{model_id}", ":id"), s.behind(r))
	}
	s.app.Use(s.noRoute)
	return nil
}

var errNoAction = errors.New("no such action")

// check refuses a route of which nobody could say who may use it.
func (s *Server) check(r *Route) error {
	if s.doorOf(r.Action) == nil {
		return fmt.Errorf("%s %s does %q: %w", r.Method, r.Path, r.Action, errNoAction)
	}
	for _, m := range r.Messages {
		if s.doorOf(m.Action) == nil {
			return fmt.Errorf("messages %q of %s do %q: %w", m.Kind, r.Path, m.Action, errNoAction)
		}
	}
	return nil
}

// behind answers a route's requests once they may do what the route does.
func (s *Server) behind(r *route) fiber.Handler {
	door := s.doorOf(r.Action)
	return func(c *fiber.Ctx) error {
		err := s.identify(c)
		if err == nil {
			err = door(c)
		}
		if err != nil {
			return s.fail(c, nil, err)
		}
		return r.handler(c)
	}
}

// doorOf returns what says why a request may not do an action; nil: there is no such
// action.
func (s *Server) doorOf(a Action) func(*fiber.Ctx) error {
	switch a {
	case ActionPublic, ActionPredict, ActionRead, ActionMetrics:
		return func(*fiber.Ctx) error { return nil }
	case ActionLearn, ActionLoadModel, ActionAliases, ActionJobs, ActionAdmin:
		return s.managed
	case ActionSamples:
		return s.sampling
	}
	return nil
}

// Routes lists what is answered.
func (s *Server) Routes() []Route {
	out := make([]Route, len(s.listed))
	for i := range s.listed {
		out[i] = s.listed[i].Route
	}
	return out
}

// noRoute answers paths and methods that no route takes.
func (s *Server) noRoute(c *fiber.Ctx) error {
	path, as := c.Path(), s.app.Config()
	var allowed []string
	for _, routes := range s.app.Stack() {
		for _, r := range routes {
			if r.Method != c.Method() && r.Path != "/" && fiber.RoutePatternMatch(path, r.Path, as) && !slices.Contains(allowed, r.Method) {
				allowed = append(allowed, r.Method)
			}
		}
	}
	if len(allowed) == 0 {
		return s.fail(c, nil, api.NewProblem(api.NotFound, "", "there is nothing at %s: /openapi.json lists the routes", clip(path)))
	}
	for _, m := range allowed {
		c.Append(fiber.HeaderAllow, m)
	}
	return s.fail(c, nil, api.NewProblem(api.MethodNotAllowed, "", "%s is not allowed here", clip(c.Method())))
}
