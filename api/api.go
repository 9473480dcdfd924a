// Package api defines the bodies of requests and answers between clients and the
// host, and the types of errors. It imports nothing of the project, so that clients
// and the deployer can use it.
//
// The packages below it have the handlers.
package api

import (
	"encoding/json"
	"time"
)

// PredictRequest requests the score of one row.
type PredictRequest struct {
	// Data is an object of features by name, or an array of values in feature order.
	Data              any    `json:"data"`
	ModelID           string `json:"model_id,omitempty"`
	Version           string `json:"version,omitempty"`
	ReturnConfidence  *bool  `json:"return_confidence,omitempty"` // default true
	ReturnExplanation bool   `json:"return_explanation,omitempty"`
	// ID is copied to the answer, over WebSocket only.
	ID any `json:"id,omitempty"`
}

// BatchRequest requests the scores of many rows.
type BatchRequest struct {
	Data             []any  `json:"data"`
	ModelID          string `json:"model_id,omitempty"`
	Version          string `json:"version,omitempty"`
	BatchSize        int    `json:"batch_size,omitempty"` // rows per call, 1 to 10000, default 1000
	ReturnConfidence *bool  `json:"return_confidence,omitempty"`
	// ReturnExplanation requests an explanation of each row, which takes as long as
	// scoring many rows.
	ReturnExplanation bool `json:"return_explanation,omitempty"`
	// Fields names the fields of each prediction, as Prediction's JSON has them; empty
	// means all. An explanation comes besides if it is requested.
	Fields []string `json:"fields,omitempty"`
}

// RowsRequest has rows to learn or to replay.
type RowsRequest struct {
	Data    []any  `json:"data"`
	Version string `json:"version,omitempty"`
}

// Prediction is the answer for one row.
type Prediction struct {
	Prediction       float64   `json:"prediction"` // calibrated to 0..1; without calibration, the score
	IsAnomaly        *bool     `json:"is_anomaly"` // null: the model has no threshold
	Confidence       *float64  `json:"confidence"`
	ConfidenceReason string    `json:"confidence_reason,omitempty"` // why it is null
	ModelID          string    `json:"model_id"`
	ModelVersion     string    `json:"model_version"`
	PredictionTime   time.Time `json:"prediction_time"`
	LatencyMS        float64   `json:"latency_ms"`
	Score            float64   `json:"score"` // oriented: higher is more anomalous
	Threshold        *float64  `json:"threshold"`
	Calibrated       bool      `json:"calibrated"`
	// ScoreDifference is how much a row's score may differ with the other rows of
	// its call. It is absent if scores are equal bit for bit, if the model is
	// stateful, or if it says that its rows influence each other.
	ScoreDifference float64      `json:"score_difference,omitempty"`
	RequestID       string       `json:"request_id,omitempty"`
	Explanation     *Explanation `json:"explanation,omitempty"`
	ID              any          `json:"id,omitempty"`
	Error           *Problem     `json:"error,omitempty"` // for a failed row of a batch, which has nothing else
}

// Explanation attributes a score to features.
type Explanation struct {
	Method        string         `json:"method"`
	BaseValue     float64        `json:"base_value"`
	Score         float64        `json:"score"`
	Additive      bool           `json:"additive"`
	Residual      float64        `json:"residual"`
	Evaluations   int            `json:"evaluations"`
	Contributions []Contribution `json:"contributions"`
}

// Contribution is one feature's part of a score.
type Contribution struct {
	Feature      string  `json:"feature"`
	Value        any     `json:"value"`
	Reference    any     `json:"reference"`
	Contribution float64 `json:"contribution"`
}

// BatchResponse answers a batch with one prediction per row, in order.
type BatchResponse struct {
	Predictions         []Prediction `json:"predictions"`
	TotalProcessed      int          `json:"total_processed"` // rows received
	TotalAnomalies      int          `json:"total_anomalies"`
	TotalFailed         int          `json:"total_failed"`
	ProcessingTimeMS    float64      `json:"processing_time_ms"`
	ThroughputPerSecond float64      `json:"throughput_per_second"`
	RequestID           string       `json:"request_id"`
}

// Health describes a host that is up.
type Health struct {
	Status            string    `json:"status"`
	Timestamp         time.Time `json:"timestamp"`
	Version           string    `json:"version"`
	UptimeSeconds     float64   `json:"uptime_seconds"`
	LoadedModels      int       `json:"loaded_models"`
	ActiveConnections int       `json:"active_connections"`
	MemoryUsageMB     float64   `json:"memory_usage_mb"`
}

// Ready says whether the host should get traffic.
type Ready struct {
	Ready  bool   `json:"ready"`
	Reason string `json:"reason,omitempty"`
}

// Feature is an input column of a model.
type Feature struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	// Missing is what replaces null or a missing value: "nan", or a value of the
	// dtype. It is absent if a missing value is an error.
	Missing json.RawMessage `json:"missing,omitempty"`
}

// ModelVersion describes one version of a model.
type ModelVersion struct {
	ModelID     string     `json:"model_id"`
	Version     string     `json:"version"`
	Status      string     `json:"status"` // available, loading, loaded, failed or unloaded
	Error       string     `json:"error,omitempty"`
	Failure     string     `json:"failure,omitempty"`  // of error: file or surroundings
	RetryAt     *time.Time `json:"retry_at,omitempty"` // when a load that failed because of the surroundings is tried again
	Warnings    []string   `json:"warnings,omitempty"`
	Description string     `json:"description,omitempty"`
	Algorithm   string     `json:"algorithm,omitempty"`
	Backend     string     `json:"backend,omitempty"`
	Digest      string     `json:"digest,omitempty"`         // of the artifact
	Content     string     `json:"content_digest,omitempty"` // of manifest, artifact and files
	Engine      *Engine    `json:"engine,omitempty"`         // of a loaded version of backend onnx
	Features    []Feature  `json:"features,omitempty"`
	Unknown     string     `json:"unknown_features,omitempty"` // ignore: unknown features are ignored
	Threshold   *float64   `json:"threshold,omitempty"`
	Calibration string     `json:"calibration,omitempty"`
	Explanation string     `json:"explanation,omitempty"`
	Stateful    bool       `json:"stateful,omitempty"`
	// BatchDependent means that a row's score depends on the other rows of its
	// request.
	BatchDependent  bool           `json:"batch_dependent,omitempty"`
	ScoreDifference float64        `json:"score_difference,omitempty"` // as in Prediction
	MaxBatchRows    int            `json:"max_batch_rows,omitempty"`   // rows of one call of the detector; larger requests are split
	Pinned          bool           `json:"pinned,omitempty"`
	MemoryBytes     int64          `json:"memory_bytes,omitempty"` // an estimate
	Metadata        map[string]any `json:"metadata,omitempty"`
	Changed         time.Time      `json:"changed"` // when the status changed
}

// Engine is what computes the scores of a version.
type Engine struct {
	Name   string `json:"name"`   // onnxruntime; forest or neighbours: the host itself
	Detail string `json:"detail"` // why, and how it was proved
}

// ModelList lists every version of every model.
type ModelList struct {
	Models  []ModelVersion `json:"models"`
	Total   int            `json:"total"`
	Default string         `json:"default_model,omitempty"`
	// Problems say what the configuration requires and the host does not have.
	Problems []string `json:"problems,omitempty"`
}

// Model describes all versions of one model, newest first.
type Model struct {
	ModelID  string            `json:"model_id"`
	Versions []ModelVersion    `json:"versions"`
	Aliases  map[string]string `json:"aliases,omitempty"`
	Default  map[string]int    `json:"default,omitempty"` // weights for requests without a version
}

// Unloaded lists the versions that a request unloaded.
type Unloaded struct {
	ModelID  string   `json:"model_id"`
	Unloaded []string `json:"unloaded"`
}

// Learned says how many rows a stateful model learned.
type Learned struct {
	ModelID string `json:"model_id"`
	Version string `json:"version"`
	Rows    int    `json:"rows"`
}

// Samples are rows that a version has scored and that are kept to compare another
// version with it. Total counts the rows that were kept since the process started.
type Samples struct {
	ModelID          string    `json:"model_id"`
	Version          string    `json:"version"`
	ProcessStartTime time.Time `json:"process_start_time"`
	Threshold        *float64  `json:"threshold,omitempty"`
	Total            uint64    `json:"total"`
	// Next is the value of after that requests the rows that follow.
	Next uint64   `json:"next"`
	Rows []Sample `json:"rows"`
	// NotKept says why no rows are kept, for a model whose rows are not scored
	// independently.
	NotKept string `json:"not_kept,omitempty"`
}

// Sample is a row as it was sent, without unknown features, and the oriented score
// of the answer.
type Sample struct {
	Data  json.RawMessage `json:"data"`
	Score float64         `json:"score"`
}

// Replayed has the oriented scores of rows that were scored without being counted.
// Scores of failed rows are null.
type Replayed struct {
	ModelID   string     `json:"model_id"`
	Version   string     `json:"version"`
	Threshold *float64   `json:"threshold,omitempty"`
	Scores    []*float64 `json:"scores"`
}

// Stats counts the answers of one version, or of several versions of a model
// together, since the process started. Each row is counted once, by its outcome: in
// Scored, Nonfinite or Failed.
type Stats struct {
	ModelID          string            `json:"model_id"`
	Version          string            `json:"version"`  // empty: several versions
	Versions         []string          `json:"versions"` // whose answers are counted
	ProcessStartTime time.Time         `json:"process_start_time"`
	Requests         uint64            `json:"requests"` // answered
	Errors           map[string]uint64 `json:"errors"`   // requests that failed as a whole, by error_type
	Rows             uint64            `json:"rows"`     // passed to the detector
	Scored           uint64            `json:"scored"`
	Failed           map[string]uint64 `json:"failed"` // rows without a score, by error_type, including unreadable rows
	Anomalies        uint64            `json:"anomalies"`
	Nonfinite        uint64            `json:"nonfinite"`
	ScoreSum         float64           `json:"score_sum"` // the largest float64 if the sum is larger
	ScoreMean        float64           `json:"score_mean"`
	ScoreMin         *float64          `json:"score_min"` // null: there is no score
	ScoreMax         *float64          `json:"score_max"`
	Sketch           *Sketch           `json:"score_sketch,omitempty"` // if the request asks for it
	Histogram        Histogram         `json:"score_histogram"`
	Durations        Histogram         `json:"duration_histogram"` // seconds, of answered requests
	Pinned           uint64            `json:"pinned"`             // of Requests: named one of Versions
	Streamed         uint64            `json:"streamed"`           // of Requests: messages over WebSockets
	// UnknownVersions counts requests for versions of the model that the host does not
	// serve, by version. They are in no other figure.
	UnknownVersions map[string]uint64 `json:"unknown_versions"`
}

// Histogram counts oriented scores. Bin i has those in (edges[i-1], edges[i]], and
// the last bin those above every edge.
type Histogram struct {
	Edges  []float64 `json:"edges"`
	Counts []uint64  `json:"counts"`
}

// Sketch counts oriented scores more finely than a Histogram: in the bins of a grid
// that is the same for all models, less than 1 % wide. It lists the bins that are
// not empty in ascending order, by their upper edges. Counts and edges have the same
// length.
type Sketch struct {
	Edges  []float64 `json:"edges"`
	Counts []uint64  `json:"counts"`
}
