package lifecycle

import "time"

// drainLook is how often Drain looks at the connections.
const drainLook = 20 * time.Millisecond

// Server is a server that knows who is connected to it.
type Server interface {
	OpenConnections() int
}

// Drain waits while traffic goes elsewhere: for a time, or while connections are
// open. It ends when the server fails: it leaves what arrives on failed there.
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
