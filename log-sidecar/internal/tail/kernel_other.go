//go:build !linux

package tail

import "os"

// writers cannot be told without Linux's file leases.
func writers(*os.File) (open, known bool) { return true, false }

// born is not asked for elsewhere.
func born(string) int64 { return 0 }
