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

// What is kept of a memory becomes a file in memory, mapped privately in place of
// what was there. A page that is written to becomes a copy of its own and stays one.
//
// To drop all copies is one system call, but the next call pays for each page with
// a fault, which takes longer than most calls. So a few pages are overwritten with
// what was kept instead, and stay. Which pages are copies says the kernel's page
// map; that there are no new ones says the thread's count of page faults, which is
// had for a fraction of the time.

const (
	pageSize   = 4096
	mostCopied = 64 // pages that are overwritten one by one
)

// changes is what a memory knows of the pages that were written to.
type changes struct {
	followed bool  // the kernel tells of copies and faults
	begun    bool  // this goroutine has its thread for itself
	faults   int64 // of the thread, when it began
	copies   []int // pages
}

// Keep makes the present content that which Reset brings back. After an error the
// memory must not be used any more.
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
	// Piece by piece, so that no more than a piece is there twice.
	for at := 0; at < m.size && err == nil; at += piece {
		part := m.space[at:min(at+piece, m.size)]
		// Looking at pages that were never touched maps them one by one; this maps all at
		// once. A kernel before 5.14 cannot.
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

// reserve maps address space of which the system provides what is touched; it returns
// nil where there is too little.
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

// Begin comes before the first change since Keep or Reset. Until Reset the calling
// goroutine has its thread for itself, and no other may change the memory.
func (m *Memory) Begin() {
	if m.followed {
		runtime.LockOSThread()
		m.begun, m.faults = true, threadFaults()
	}
}

// Reset brings back the content that was kept; what the memory has grown by since
// is zero. After an error the memory must not be used any more.
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

// overwrite overwrites the pages that are copies, given how many faults there were,
// or reports that they are too many.
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

// threadFaults counts the page faults of this thread, those of other memory, too;
// it is negative where that is not known.
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

// follows tries whether the kernel tells of faults and copies, which not all that
// pass for one do: the first page is written to, and must be found, alone.
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

// writeNonZero writes the pages that are not zero to a file that is.
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
