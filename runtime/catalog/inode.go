package catalog

import (
	"fmt"
	"io/fs"
	"syscall"
	"time"
)

// inode tells files apart that have the same name, size and time: a link that
// was pointed elsewhere, say.
func inode(info fs.FileInfo) string {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", s.Dev, s.Ino)
	}
	return ""
}

// changed is when a file was last written or moved, which cp -p cannot set back.
func changed(info fs.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		at := ctime(s)
		return time.Unix(at.Unix())
	}
	return info.ModTime()
}
