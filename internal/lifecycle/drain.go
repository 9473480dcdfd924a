package lifecycle

import "time"

// drainLook is the interval at which Drain checks the connections.
const drainLook = 20 * time.Millisecond

// Server is a server that knows its connections.
type Server interface {
	OpenConnections() int
}

// Drain waits while traffic moves elsewhere: for the time most or, if whileConnected
// is set, only while connections are open. It returns early when the server fails;
// the error stays in failed.
func Drain(server Server, failed chan error, most time.Duration, whileConnected bool) {
	over := time.NewTimer(most)
	defer over.Stop()
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for !whileConnected || server.OpenConnections() > 0 {
		select {
		case <-over.C:
			return
		case err := <-failed:
			failed <- err
			return
		case <-look.C:
		}
	}
}
