package process

// LimitsRole and KeeperRole are the first of two arguments of a process that must
// call Main and nothing else.
const (
	LimitsRole = "__process-limits"
	KeeperRole = "__process-keeper"
)
