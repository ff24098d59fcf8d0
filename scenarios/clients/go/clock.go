package main

import (
	"syscall"
	"unsafe"
)

const clockMonotonic = 1

// monotonicUs reads CLOCK_MONOTONIC of Linux, which Go's standard library does not show.
func monotonicUs() float64 {
	var now syscall.Timespec
	_, _, _ = syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&now)), 0)
	return float64(now.Nano()) / 1000
}
