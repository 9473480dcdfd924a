package faults

import (
	"context"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// failingDisk is a file system that mirrors a directory and fails on request.
type failingDisk struct {
	mu    sync.Mutex
	below string
	errno syscall.Errno
}

// fail makes everything at and below a path fail with an error from now on. With 0
// nothing fails.
func (d *failingDisk) fail(below string, errno syscall.Errno) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.below, d.errno = below, errno
}

func (d *failingDisk) check(path string) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.errno != 0 && (d.below == "" || path == d.below || strings.HasPrefix(path, d.below+"/")) {
		return d.errno
	}
	return 0
}

// mountFailing mounts a failingDisk that mirrors dir. The cleanup unmounts it.
func mountFailing(t *testing.T, dir, at string) *failingDisk {
	t.Helper()
	d := new(failingDisk)
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	root := &fs.LoopbackRoot{Path: dir, Dev: uint64(st.Dev)} //nolint:unconvert // its type differs between platforms
	top := &failingNode{LoopbackNode: &fs.LoopbackNode{RootData: root}, disk: d}
	root.RootNode = top
	none := time.Duration(0) // the kernel's cache must not answer
	server, err := fs.Mount(at, top, &fs.Options{
		AttrTimeout: &none, EntryTimeout: &none,
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "faults", Name: "faults", MaxBackground: 64},
	})
	if err != nil {
		t.Skipf("mounting a FUSE file system: %v", err)
	}
	t.Cleanup(func() {
		d.fail("", 0)
		if err := server.Unmount(); err != nil {
			_ = syscall.Unmount(at, syscall.MNT_DETACH)
		}
	})
	return d
}

// failingNode is a file or directory of a failingDisk.
type failingNode struct {
	*fs.LoopbackNode
	disk *failingDisk
}

// WrapChild implements fs.NodeWrapChilder.
func (n *failingNode) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	child, ok := ops.(*fs.LoopbackNode)
	if !ok {
		return ops
	}
	return &failingNode{LoopbackNode: child, disk: n.disk}
}

func (n *failingNode) check(name string) syscall.Errno {
	return n.disk.check(filepath.Join(n.Path(n.Root()), name))
}

// Lookup implements fs.NodeLookuper.
func (n *failingNode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := n.check(name); errno != 0 {
		return nil, errno
	}
	return n.LoopbackNode.Lookup(ctx, name, out)
}

// Getattr implements fs.NodeGetattrer.
func (n *failingNode) Getattr(ctx context.Context, f fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if errno := n.check(""); errno != 0 {
		return errno
	}
	return n.LoopbackNode.Getattr(ctx, f, out)
}

// OpendirHandle implements fs.NodeOpendirHandler.
func (n *failingNode) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.check(""); errno != 0 {
		return nil, 0, errno
	}
	return n.LoopbackNode.OpendirHandle(ctx, flags)
}

// Open implements fs.NodeOpener.
func (n *failingNode) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if errno := n.check(""); errno != 0 {
		return nil, 0, errno
	}
	return n.LoopbackNode.Open(ctx, flags)
}
