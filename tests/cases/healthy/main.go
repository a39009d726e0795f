// A Go program with C in it: goroutines, garbage, threads that call C, blocks of malloc.
// SPDX-License-Identifier: MIT
package main

// #include <stdlib.h>
// #include <string.h>
// static char *grow(size_t n) { char *p = malloc(n); memset(p, 1, n); return p; }
import "C"

import (
	"fmt"
	"runtime"
	"sync"
	"unsafe"
)

func main() {
	var group sync.WaitGroup
	for i := 0; i < 200; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			for j := 0; j < 50; j++ {
				block := C.grow(C.size_t(1000 * (i + j)))
				kept := make([]byte, 1000*j+1)
				kept[0] = 1
				C.free(unsafe.Pointer(block))
			}
		}(i)
	}
	group.Wait()
	runtime.GC()
	fmt.Println("done")
}
