// Package peers holds what a comparison with other servers has measured, checks the
// servers' answers, and writes the tables and the chart of the documentation.
package peers

// Results is what one run has measured.
type Results struct {
	Machine  string    `json:"machine"`
	Rounds   int       `json:"rounds"`
	Seconds  float64   `json:"seconds"` // of each measurement
	Others   float64   `json:"others"`  // most processors that other programs used during a measurement
	Stolen   float64   `json:"stolen"`  // most processors that the hypervisor withheld during a measurement
	Versions []Version `json:"versions"`
	Servers  []Server  `json:"servers"`
}

// Version is the version of a program.
type Version struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Server is a server with one kind of request: a row of the tables.
type Server struct {
	Name   string  `json:"name"`
	Rows   string  `json:"rows"`             // how requests hold rows: RowsNamed or RowsArrays
	Host   bool    `json:"host,omitempty"`   // it is this project's host
	Floor  bool    `json:"floor,omitempty"`  // it runs no model
	Reason string  `json:"reason,omitempty"` // why there are no figures; empty: there are
	Many   Figures `json:"many"`             // 1 row a request, 32 connections
	Alone  Figures `json:"alone"`            // 1 row a request, 1 connection
	Batch  Figures `json:"batch"`            // 1,000 rows a request, 4 connections
	MiB    float64 `json:"mib"`              // resident memory after the measurements
	Start  float64 `json:"start"`            // seconds from the start to the first right answer
}

// How requests hold rows.
const (
	RowsNamed  = "names"
	RowsArrays = "arrays"
)

// BatchRows is the number of rows in a request of Server.Batch.
const BatchRows = 1000

// Figures are medians over the rounds.
type Figures struct {
	Rate float64 `json:"rate"` // requests/s
	CPU  float64 `json:"cpu"`  // µs of all the server's processes, a request
	P50  float64 `json:"p50"`  // µs
	P99  float64 `json:"p99"`  // µs
}
