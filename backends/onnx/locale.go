//go:build cgo && linux

package onnx

// #include <locale.h>
// #include <stdlib.h>
import "C"

import "unsafe"

// loadLocales loads locales for the life of the process, so that no file needs
// to be opened later. If the system lacks one, the library reports it.
func loadLocales(names []string) {
	for _, name := range names {
		text := C.CString(name)
		// The C library keeps a locale's data while a locale object uses it.
		C.newlocale(C.LC_ALL_MASK, text, nil)
		C.free(unsafe.Pointer(text))
	}
}
