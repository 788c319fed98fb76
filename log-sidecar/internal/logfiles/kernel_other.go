//go:build !linux

package logfiles

import (
	"io/fs"
	"os"
	"syscall"
)

// Writers cannot know without Linux's file leases.
func Writers(*os.File) (open, known bool) { return true, false }

// NextData knows of no holes.
func NextData(_ *os.File, offset, _ int64) int64 { return offset }

// Stat looks at an open file. Creation times and mounts are looked up on Linux only.
func Stat(f *os.File) (File, error) {
	info, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	return describe(info), nil
}

func stat(path string, follow bool) (File, error) {
	look := os.Lstat
	if follow {
		look = os.Stat
	}
	info, err := look(path)
	if err != nil {
		return File{}, err
	}
	return describe(info), nil
}

func describe(info fs.FileInfo) File {
	f := File{Size: info.Size(), Modified: info.ModTime().UnixNano(), mode: info.Mode().Type()}
	f.Changed = f.Modified
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.ID, f.Deleted = ID{uint64(st.Dev), st.Ino}, st.Nlink == 0
	}
	return f
}
