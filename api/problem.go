package api

import (
	"fmt"
	"time"
)

// ErrorType is the type of an error, and a label of the error metric.
type ErrorType string

// The types of errors.
const (
	ValidationError      ErrorType = "ValidationError"
	RowError             ErrorType = "RowError"
	Unauthorized         ErrorType = "Unauthorized"
	Forbidden            ErrorType = "Forbidden"
	NotFound             ErrorType = "NotFound" // no such path
	ModelNotFound        ErrorType = "ModelNotFound"
	VersionNotFound      ErrorType = "VersionNotFound"
	MethodNotAllowed     ErrorType = "MethodNotAllowed"
	Conflict             ErrorType = "Conflict"
	NotReplayed          ErrorType = "NotReplayed"    // the model accepts no rows of other versions
	RequestTimeout       ErrorType = "RequestTimeout" // the request did not arrive in time
	PayloadTooLarge      ErrorType = "PayloadTooLarge"
	UnsupportedMediaType ErrorType = "UnsupportedMediaType"
	HeadersTooLarge      ErrorType = "HeadersTooLarge"
	RateLimited          ErrorType = "RateLimited"
	ClientGone           ErrorType = "ClientGone" // the client has closed its connection
	ScoringError         ErrorType = "ScoringError"
	InternalError        ErrorType = "InternalError"
	Overloaded           ErrorType = "Overloaded"
	ModelUnavailable     ErrorType = "ModelUnavailable"
	ShuttingDown         ErrorType = "ShuttingDown"
	DeadlineExceeded     ErrorType = "DeadlineExceeded"
)

// Status returns the HTTP status of an error type.
func (t ErrorType) Status() int {
	switch t {
	case ValidationError:
		return 400
	case Unauthorized:
		return 401
	case Forbidden:
		return 403
	case NotFound, ModelNotFound, VersionNotFound:
		return 404
	case MethodNotAllowed:
		return 405
	case Conflict, NotReplayed:
		return 409
	case RequestTimeout:
		return 408
	case PayloadTooLarge:
		return 413
	case UnsupportedMediaType:
		return 415
	case RowError:
		return 422
	case RateLimited:
		return 429
	case HeadersTooLarge:
		return 431
	case ClientGone:
		return 499
	case Overloaded, ModelUnavailable, ShuttingDown:
		return 503
	case DeadlineExceeded:
		return 504
	default:
		return 500
	}
}

// ProblemContentType is the media type of a Problem (RFC 9457).
const ProblemContentType = "application/problem+json"

// Problem is an error as clients receive it.
type Problem struct {
	Type       string        `json:"type"`
	Title      string        `json:"title"`
	Status     int           `json:"status"`
	Detail     string        `json:"detail"` // what to change
	ErrorType  ErrorType     `json:"error_type"`
	Field      string        `json:"field,omitempty"`
	RequestID  string        `json:"request_id,omitempty"`
	ID         any           `json:"id,omitempty"` // of a WebSocket message
	RetryAfter time.Duration `json:"-"`
}

// NewProblem returns a problem. The detail says what to change.
func NewProblem(t ErrorType, field, format string, args ...any) *Problem {
	return &Problem{
		Type: "about:blank", Title: string(t), Status: t.Status(), ErrorType: t, Field: field,
		Detail: fmt.Sprintf(format, args...),
	}
}

// Error implements error.
func (p *Problem) Error() string {
	if p.Field != "" {
		return fmt.Sprintf("%s: %s: %s", p.ErrorType, p.Field, p.Detail)
	}
	return fmt.Sprintf("%s: %s", p.ErrorType, p.Detail)
}
