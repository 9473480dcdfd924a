package catalog

import (
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// inode distinguishes files with the same name, size and time, such as the old and
// the new target of a link.
func inode(info fs.FileInfo) string {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", s.Dev, s.Ino)
	}
	return ""
}

// changed returns when a file was last written or moved. Unlike the modification
// time, cp -p cannot set it.
func changed(info fs.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		at := ctime(s)
		return time.Unix(at.Unix())
	}
	return info.ModTime()
}
