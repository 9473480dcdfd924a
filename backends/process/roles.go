package process

// LimitsRole and KeeperRole are the first of two arguments of a helper process,
// whose main function must only call Main.
const (
	LimitsRole = "__process-limits"
	KeeperRole = "__process-keeper"
)
