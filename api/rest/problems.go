package rest

import (
	"context"
	"errors"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/jsonscan"
	"github.com/pynomaly/pynomaly-runtime/internal/rows"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/runtime/model"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// asProblem turns any error of a request into a problem with the given text.
func asProblem(err error, of text) *api.Problem {
	var problem *api.Problem
	var syntax *jsonscan.SyntaxError
	var many *rows.TooManyRowsError
	var unavailable *model.UnavailableError
	var failed *sdk.RowErrors
	if p := accessProblem(err); p != nil {
		return p
	}
	switch {
	case errors.As(err, &problem):
		return problem
	case errors.As(err, &syntax):
		return api.NewProblem(api.ValidationError, "", "%s", syntax.Error())
	case errors.As(err, &failed) && len(failed.Rows) > 0:
		return rowProblem(failed.Rows[0])
	case errors.As(err, &many):
		return api.NewProblem(api.PayloadTooLarge, "data", "has more than %d rows: send fewer rows a request", many.Limit)
	case errors.As(err, &unavailable):
		p := api.NewProblem(api.ModelUnavailable, "", "%s", of(unavailable))
		p.RetryAfter = unavailable.RetryAfter
		return p
	case errors.Is(err, registry.ErrAmbiguousModel):
		return api.NewProblem(api.ValidationError, "model_id", "%s", err.Error())
	case errors.Is(err, registry.ErrModelNotFound):
		return api.NewProblem(api.ModelNotFound, "model_id", "%s", err.Error())
	case errors.Is(err, registry.ErrVersionNotFound):
		return api.NewProblem(api.VersionNotFound, "version", "%s", err.Error())
	case errors.Is(err, registry.ErrShuttingDown):
		return retry(api.NewProblem(api.ShuttingDown, "", "the host is shutting down: send the request to another one"))
	case errors.Is(err, batching.ErrOverloaded):
		return retry(api.NewProblem(api.Overloaded, "", "%s: try again later or send fewer requests at once", err.Error()))
	case errors.Is(err, batching.ErrCallerGone):
		return api.NewProblem(api.ClientGone, "", "the client closed its connection before the answer was there")
	case errors.Is(err, context.DeadlineExceeded):
		return api.NewProblem(api.DeadlineExceeded, "", "the model did not answer in time: send fewer rows, or raise limits.timeout in its manifest")
	case errors.Is(err, model.ErrNotExplained):
		return api.NewProblem(api.ValidationError, "return_explanation", "%s", err.Error())
	case errors.Is(err, model.ErrConflict):
		return api.NewProblem(api.Conflict, "", "%s", of(err))
	case errors.Is(err, batching.ErrScoring):
		return api.NewProblem(api.ScoringError, "", "%s", of(err))
	}
	return api.NewProblem(api.InternalError, "", "%s", of(err))
}

func retry(p *api.Problem) *api.Problem {
	p.RetryAfter = retryAfter
	return p
}
