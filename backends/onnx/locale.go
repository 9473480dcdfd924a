//go:build cgo && linux

package onnx

// #include <locale.h>
// #include <stdlib.h>
import "C"

import "unsafe"

// loadLocales loads locales for good, so that no file need be opened for them later.
// What the system does not have is the library's to complain of.
func loadLocales(names []string) {
	for _, name := range names {
		text := C.CString(name)
		// The C library keeps what a locale has loaded while there is one that uses it.
		C.newlocale(C.LC_ALL_MASK, text, nil)
		C.free(unsafe.Pointer(text))
	}
}
