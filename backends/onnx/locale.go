//go:build cgo && linux

package onnx

// #include <locale.h>
// #include <stdlib.h>
// // The C library keeps what a locale has loaded while there is one that uses it.
// static void load(const char *name) { (void) newlocale(LC_ALL_MASK, name, (locale_t) 0); }
import "C"

import "unsafe"

// loadLocales loads locales for good, so that no file need be opened for them later.
// What the system does not have is the library's to complain of.
func loadLocales(names []string) {
	for _, name := range names {
		text := C.CString(name)
		C.load(text)
		C.free(unsafe.Pointer(text))
	}
}
