package meter

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Keep writes a memory's content to a file in memory and maps that privately in
// place of the original. A page that is written to becomes a private copy.
//
// One system call would drop all copies, but then the next call would take a page
// fault per page, which is slower than most calls. So Reset overwrites a few copied
// pages with the kept content and leaves them mapped. The kernel's page map says
// which pages are copies. The thread's count of page faults says that there are no
// new ones, and is much cheaper to read.

const (
	pageSize   = 4096
	mostCopied = 64 // largest number of pages that are overwritten one by one
)

// changes tracks the pages of a memory that were written to.
type changes struct {
	followed bool  // the kernel reports copies and faults
	begun    bool  // this goroutine is locked to its thread
	faults   int64 // of the thread, at Begin
	copies   []int // page numbers
}

// Keep makes the present content the one that Reset restores. After an error the
// memory must not be used.
func (m *Memory) Keep() (err error) {
	if m.space == nil {
		m.image = append(m.image[:0], m.heap...)
		return nil
	}
	m.dropImage()
	m.changes = changes{}
	if m.size == 0 {
		return nil
	}
	file, err := unix.MemfdCreate("wasm-memory", unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("keeping a memory: %w", err)
	}
	err = unix.Ftruncate(file, int64(m.size))
	// Copy by pieces, so that at most one piece exists twice.
	for at := 0; at < m.size && err == nil; at += piece {
		part := m.space[at:min(at+piece, m.size)]
		// Reading untouched pages would map them one by one. This maps all at once;
		// kernels before 5.14 cannot.
		_ = unix.Madvise(part, unix.MADV_POPULATE_READ)
		if err = writeNonZero(file, part, at); err == nil {
			err = mapOver(part, file, at)
		}
	}
	if err == nil {
		m.image, err = unix.Mmap(file, 0, m.size, unix.PROT_READ, unix.MAP_SHARED)
	}
	if err = errors.Join(err, unix.Close(file)); err != nil { // the mappings hold the file
		return fmt.Errorf("keeping a memory: %w", err)
	}
	m.followed = m.follows()
	return nil
}

// reserve maps address space, of which the system provides the pages that are
// touched. It returns nil if there is too little.
func reserve(most uint64) []byte {
	space, _ := unix.Mmap(-1, 0, int(most), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	return space
}

func (m *Memory) dropSpace() {
	if m.space != nil {
		_ = unix.Munmap(m.space)
	}
}

func (m *Memory) dropImage() {
	if m.space != nil && m.image != nil {
		_ = unix.Munmap(m.image)
	}
	m.image = nil
}

// Begin must be called before the first change after Keep or Reset. Until Reset it
// locks the calling goroutine to its thread, and no other goroutine may change the
// memory.
func (m *Memory) Begin() {
	if m.followed {
		runtime.LockOSThread()
		m.begun, m.faults = true, threadFaults()
	}
}

// Reset restores the kept content; bytes that were added since become zero. After an
// error the memory must not be used.
func (m *Memory) Reset() error {
	if m.space == nil {
		clear(m.heap[copy(m.heap, m.image):])
		return nil
	}
	if m.begun {
		m.begun = false
		faults := threadFaults() - m.faults
		runtime.UnlockOSThread()
		if m.overwrite(faults) {
			return nil
		}
	}
	m.copies = m.copies[:0]
	if m.size == 0 {
		return nil
	}
	if err := unix.Madvise(m.space[:m.size], unix.MADV_DONTNEED); err != nil {
		return fmt.Errorf("resetting a memory: %w", err)
	}
	return nil
}

// overwrite restores the copied pages, given the number of faults since Begin. It
// returns false if there are too many.
func (m *Memory) overwrite(faults int64) bool {
	if faults > mostCopied || faults > 0 && !m.findCopies() || len(m.copies) > mostCopied {
		return false
	}
	for _, page := range m.copies {
		at := page * pageSize
		to := m.space[at : at+pageSize]
		if at < len(m.image) {
			copy(to, m.image[at:])
		} else {
			clear(to)
		}
	}
	return true
}

// threadFaults returns the number of page faults of this thread, which includes
// faults on other memory. It is negative if unknown.
func threadFaults() int64 {
	var used unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &used) != nil {
		return -1
	}
	return used.Minflt + used.Majflt
}

// findCopies asks the kernel which pages are copies.
func (m *Memory) findCopies() bool {
	const (
		entry   = 8
		present = 1 << 63
		swapped = 1 << 62
		shared  = 1 << 61 // of a file
	)
	file, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return false
	}
	defer file.Close()
	m.copies = m.copies[:0]
	first := uintptr(unsafe.Pointer(unsafe.SliceData(m.space))) / pageSize
	var entries [1024 * entry]byte
	for page, pages := 0, m.size/pageSize; page < pages; {
		n := min(len(entries), (pages-page)*entry)
		if _, err := file.ReadAt(entries[:n], int64(first+uintptr(page))*entry); err != nil {
			return false
		}
		for at := 0; at < n; at += entry {
			e := binary.NativeEndian.Uint64(entries[at:])
			if e&swapped != 0 || e&present != 0 && e&shared == 0 {
				m.copies = append(m.copies, page)
			}
			page++
		}
	}
	return true
}

// follows tests whether the kernel reports faults and copies, as some emulated
// kernels do not: it writes to the first page, which must then be the only copy.
func (m *Memory) follows() bool {
	if os.Getpagesize() != pageSize {
		return false
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadFaults()
	atomic.AddUint32((*uint32)(unsafe.Pointer(unsafe.SliceData(m.space))), 0)
	return before >= 0 && threadFaults() > before && m.findCopies() && len(m.copies) == 1 && m.copies[0] == 0
}

// writeNonZero writes the pages that are not zero to a file of zeros.
func writeNonZero(file int, data []byte, at int) error {
	var zero [pageSize]byte
	for from := 0; from < len(data); {
		to := from
		for to < len(data) && !bytes.Equal(data[to:to+pageSize], zero[:]) {
			to += pageSize
		}
		for from < to {
			n, err := unix.Pwrite(file, data[from:to], int64(at+from))
			if err != nil {
				return err
			}
			from += n
		}
		from += pageSize
	}
	return nil
}

// mapOver maps a part of a file in place of a part of the space.
func mapOver(part []byte, file, at int) error {
	_, err := unix.MmapPtr(file, int64(at), unsafe.Pointer(unsafe.SliceData(part)), uintptr(len(part)),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE)
	return err
}
