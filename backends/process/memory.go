//go:build linux

package process

import (
	"bytes"
	"os"
	"strconv"
)

// resident returns the bytes of a process's private memory, without pages of files
// such as libraries. It returns 0 if the process is gone.
func resident(pid int) int64 {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	return kilobytes(data, "\nRssAnon:") + kilobytes(data, "\nRssShmem:")
}

func kilobytes(status []byte, key string) int64 {
	_, rest, ok := bytes.Cut(status, []byte(key))
	if !ok {
		return 0
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.ParseInt(string(bytes.TrimSpace(bytes.TrimSuffix(line, []byte("kB")))), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// stat holds what /proc/PID/stat says about a process.
type stat struct {
	state  byte // R, S, D, T and so on; 0: it is gone
	parent int
}

func statOf(pid string) stat {
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return stat{}
	}
	return parseStat(data)
}

// parseStat reads the fields after the name, which is in parentheses and may contain
// any bytes.
func parseStat(data []byte) stat {
	at := bytes.LastIndexByte(data, ')')
	if at < 0 {
		return stat{}
	}
	fields := bytes.Fields(data[at+1:])
	if len(fields) < 2 || len(fields[0]) != 1 {
		return stat{}
	}
	parent, err := strconv.Atoi(string(fields[1]))
	if err != nil {
		return stat{}
	}
	return stat{state: fields[0][0], parent: parent}
}
