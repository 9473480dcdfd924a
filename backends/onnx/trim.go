//go:build cgo && linux

package onnx

// #include <features.h>
// #include <stdlib.h>
// #ifdef __GLIBC__
// #include <malloc.h>
// static void give_back(void) { malloc_trim(0); }
// #else
// static void give_back(void) {}
// #endif
import "C"

// trim returns freed memory to the system, which glibc would keep.
func trim() { C.give_back() }
